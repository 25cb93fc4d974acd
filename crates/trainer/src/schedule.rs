//! The learning rate of every step, computed as `get_{linear,cosine,constant}_schedule_with_warmup` of transformers do.

use medley_recipe::{Schedule, TrainSpec};

/// Learning rates of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// Rate at the end of the warm-up.
    pub peak: f64,
    /// Steps over which it rises from 0; the first step's rate is 0 when there are any.
    pub warmup_steps: usize,
    /// Steps of the whole run.
    pub total_steps: usize,
    /// Shape after the warm-up.
    pub schedule: Schedule,
}

impl LearningRate {
    /// The rates of a run of `total_steps` with the settings of `spec`.
    pub fn of(spec: &TrainSpec, total_steps: usize) -> Self {
        let by_ratio = Self::new(spec.learning_rate, spec.warmup_ratio, total_steps, spec.schedule);
        Self { warmup_steps: spec.warmup_steps.unwrap_or(by_ratio.warmup_steps), ..by_ratio }
    }

    /// The rates of a run of `total_steps`, the first `ceil(warmup_ratio * total_steps)` of which are the warm-up.
    pub fn new(peak: f64, warmup_ratio: f64, total_steps: usize, schedule: Schedule) -> Self {
        Self { peak, warmup_steps: (warmup_ratio * total_steps as f64).ceil() as usize, total_steps, schedule }
    }

    /// The rate that `step` (0-based) is taken with.
    pub fn at(&self, step: usize) -> f64 {
        self.peak * self.factor(step)
    }

    fn factor(&self, step: usize) -> f64 {
        let warmup = self.warmup_steps as f64;
        if step < self.warmup_steps {
            return step as f64 / warmup.max(1.0);
        }
        let decay_steps = (self.total_steps as f64 - warmup).max(1.0);
        match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => ((self.total_steps as f64 - step as f64) / decay_steps).max(0.0),
            Schedule::Cosine => {
                let progress = (step as f64 - warmup) / decay_steps;
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warmup_steps_override_warmup_ratio() {
        let spec = crate::tests::spec();
        assert_eq!(LearningRate::of(&spec, 20).warmup_steps, 2);
        let in_steps = TrainSpec { warmup_steps: Some(7), ..spec };
        let rate = LearningRate::of(&in_steps, 20);
        assert_eq!((rate.warmup_steps, rate.at(0), rate.at(7)), (7, 0.0, rate.peak));
    }

    #[test]
    fn rates_are_those_of_transformers() {
        // transformers 5.23: get_*_schedule_with_warmup(num_warmup_steps=2, num_training_steps=6), first six rates.
        let rates = |schedule| -> Vec<f64> {
            let rate = LearningRate::new(1.0, 0.3, 6, schedule);
            (0..6).map(|step| (rate.at(step) * 1e4).round() / 1e4).collect()
        };
        assert_eq!(rates(Schedule::Linear), [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
        assert_eq!(rates(Schedule::Cosine), [0.0, 0.5, 1.0, 0.8536, 0.5, 0.1464]);
        assert_eq!(rates(Schedule::Constant), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_peak() {
        assert_eq!(LearningRate::new(3e-4, 0.0, 10, Schedule::Cosine).at(0), 3e-4);
    }
}
