//! Rotary positions in a `config.json`: `rope_parameters` (transformers 5) or `rope_scaling` (before), read as transformers
//! 5.24 reads them.

use serde_json::{Map, Value};

use crate::config::{Rope, RopeScaling};
use crate::error::Result;
use crate::keys::Keys;

/// The rotary encoding of a family with `head_dim` features a head.
pub(super) fn rope(keys: &Keys<'_>, head_dim: usize, max_position_embeddings: usize) -> Result<Rope> {
    let (key, map) = parameters(keys)?;
    of_object(keys, (key, map), ("rope_theta", 10_000.0), [head_dim, max_position_embeddings])
}

/// The rotary encoding of an object with its key. `theta` is the key of the base beside the object, and its default.
pub(super) fn of_object(
    keys: &Keys<'_>,
    (key, map): (&'static str, Map<String, Value>),
    theta: (&'static str, f64),
    [head_dim, max_position_embeddings]: [usize; 2],
) -> Result<Rope> {
    let parameters = Parameters { keys, key, map, theta, head_dim, max_position_embeddings };
    parameters.refuse_unsupported()?;
    let theta = parameters.theta()?;
    let kind = parameters.map.get("rope_type").or_else(|| parameters.map.get("type"));
    let scaling = match kind.unwrap_or(&Value::Null).as_str() {
        None if kind.is_none_or(Value::is_null) => RopeScaling::Default,
        Some("default") => RopeScaling::Default,
        Some("linear") => RopeScaling::Linear { factor: parameters.factor()? },
        Some("dynamic") => parameters.dynamic()?,
        Some("llama3") => parameters.llama3()?,
        Some("yarn") => parameters.yarn(theta)?,
        _ => {
            let kind = kind.unwrap_or(&Value::Null);
            let problem = format!(
                "asks for {kind} rotary positions, only \"default\", \"linear\", \"dynamic\", \"llama3\" and \"yarn\" are \
                 supported"
            );
            return Err(keys.problem(key, problem));
        }
    };
    Ok(Rope { theta, scaling })
}

/// The object that decides, and its key: a `rope_scaling` that is neither null nor empty, else `rope_parameters`.
fn parameters<'a>(keys: &Keys<'a>) -> Result<(&'static str, Map<String, Value>)> {
    for key in ["rope_scaling", "rope_parameters"] {
        match keys.optional::<Map<String, Value>>(key)? {
            Some(map) if !map.is_empty() => return Ok((key, map)),
            _ => {}
        }
    }
    Ok(("rope_theta", Map::new()))
}

struct Parameters<'a> {
    keys: &'a Keys<'a>,
    key: &'static str,
    map: Map<String, Value>,
    theta: (&'static str, f64),
    head_dim: usize,
    max_position_embeddings: usize,
}

impl Parameters<'_> {
    fn refuse_unsupported(&self) -> Result<()> {
        if let Some((name, _)) = self.map.iter().find(|(_, value)| value.is_object()) {
            let problem =
                format!("has parameters for \"{name}\" alone; different rotations by layer are not supported");
            return Err(self.keys.problem(self.key, problem));
        }
        let inside = self.map.get("partial_rotary_factor").map(|value| (self.key, value));
        let outside = self.keys.map.get("partial_rotary_factor").map(|value| ("partial_rotary_factor", value));
        match inside.or(outside).filter(|(_, value)| !value.is_null() && value.as_f64() != Some(1.0)) {
            Some((key, value)) => {
                let problem = format!("asks for partial_rotary_factor = {value}; only whole heads are rotated");
                Err(self.keys.problem(key, problem))
            }
            None => Ok(()),
        }
    }

    /// `rope_theta`, which newer files keep inside `rope_parameters`.
    fn theta(&self) -> Result<f64> {
        let (key, theta) = match self.number("rope_theta")? {
            Some(theta) => (self.key, theta),
            None => (self.theta.0, self.keys.optional(self.theta.0)?.unwrap_or(self.theta.1)),
        };
        if (1.0..=1e12).contains(&theta) {
            return Ok(theta);
        }
        Err(self.keys.problem(key, format!("has rotary base {theta}, expected 1 to 1e12")))
    }

    fn dynamic(&self) -> Result<RopeScaling> {
        if self.head_dim == 2 {
            return Err(self.keys.problem(self.key, "asks for \"dynamic\" rotary positions with heads of 2 features"));
        }
        Ok(RopeScaling::Dynamic { factor: self.factor()?, trained: self.max_position_embeddings })
    }

    fn llama3(&self) -> Result<RopeScaling> {
        let [low, high] = [self.required("low_freq_factor")?, self.required("high_freq_factor")?];
        if !(low > 0.0 && high > low) {
            let problem = format!("has low_freq_factor = {low} and high_freq_factor = {high}, expected 0 < low < high");
            return Err(self.keys.problem(self.key, problem));
        }
        Ok(RopeScaling::Llama3 { factor: self.factor()?, low, high, trained: self.trained()? })
    }

    fn yarn(&self, theta: f64) -> Result<RopeScaling> {
        let trained = self.trained()? as f64;
        // A factor of null is the ratio of the two lengths.
        let ratio = self.max_position_embeddings as f64 / trained;
        let factor = if self.map.get("factor").is_some_and(Value::is_null) { ratio } else { self.factor()? };
        let magnitude = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let of_pair = [self.number("mscale")?, self.number("mscale_all_dim")?];
        let attention_factor = match (self.number("attention_factor")?, of_pair) {
            (Some(given), _) => given,
            (None, [Some(one), Some(all)]) if one != 0.0 && all != 0.0 => magnitude(one) / magnitude(all),
            _ => magnitude(1.0),
        };
        // 0 stands for the default, as None does.
        let turns = |key: &str, default: f64| Ok(self.number(key)?.filter(|&turns| turns != 0.0).unwrap_or(default));
        let (fast, slow) = (turns("beta_fast", 32.0)?, turns("beta_slow", 1.0)?);
        let sound = attention_factor.is_finite() && attention_factor > 0.0 && slow > 0.0 && fast >= slow && theta > 1.0;
        if !sound {
            let problem = format!(
                "asks for \"yarn\" with attention factor {attention_factor}, beta_fast = {fast}, beta_slow = {slow} and base \
                 {theta}, expected positive numbers, beta_fast >= beta_slow and a base above 1"
            );
            return Err(self.keys.problem(self.key, problem));
        }
        let width = self.head_dim as f64;
        let pair = |turns: f64| width * (trained / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln());
        let (low, high) = match self.map.get("truncate").and_then(Value::as_bool).unwrap_or(true) {
            true => (pair(fast).floor(), pair(slow).ceil()),
            false => (pair(fast), pair(slow)),
        };
        Ok(RopeScaling::Yarn { factor, ramp: [low.max(0.0), high.min(width - 1.0)], attention_factor })
    }

    /// Tokens of the context that the frequencies were trained on; a top-level key overrules that of the object.
    fn trained(&self) -> Result<usize> {
        let key = "original_max_position_embeddings";
        let inside = self.map.get(key).filter(|value| !value.is_null());
        let given = match self.keys.optional(key)? {
            Some(given) => Some(given),
            None => inside
                .map(|value| value.as_u64().ok_or_else(|| self.keys.problem(self.key, format!("has {key} = {value}"))))
                .transpose()?
                .map(|value| value as usize),
        };
        match given.unwrap_or(self.max_position_embeddings) {
            0 => Err(self.keys.problem(self.key, format!("has {key} = 0, expected a positive number"))),
            trained => Ok(trained),
        }
    }

    fn factor(&self) -> Result<f64> {
        let factor = self.required("factor")?;
        if (1.0..=1e6).contains(&factor) {
            return Ok(factor);
        }
        Err(self.keys.problem(self.key, format!("has factor = {factor}, expected 1 to 1e6")))
    }

    fn required(&self, name: &str) -> Result<f64> {
        self.number(name)?.ok_or_else(|| self.keys.problem(self.key, format!("has no {name}")))
    }

    /// A number of the object; `None` where it is missing or null.
    fn number(&self, name: &str) -> Result<Option<f64>> {
        match self.map.get(name).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.keys.problem(self.key, format!("has {name} = {value}, expected a number"))),
            },
        }
    }
}
