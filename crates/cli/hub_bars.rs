//! The hub, with a progress bar for each download.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use medley_hub::{Download, Hub, HubObserver};

use crate::progress;

/// The hub that the environment names; downloads are shown among the other bars.
pub fn hub() -> Hub {
    Hub::from_env().with_observer(Arc::new(HubBars::default()))
}

/// Bars of the downloads in progress, by repository and file.
#[derive(Default)]
struct HubBars {
    bars: Mutex<HashMap<(String, String), ProgressBar>>,
}

impl HubObserver for HubBars {
    fn download(&self, id: &str, file: &str, event: Download) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (id.to_owned(), file.to_owned());
        match event {
            Download::Started { size } => drop(bars.insert(key, progress::download(file, size))),
            Download::Received { bytes } => bars.get(&key).into_iter().for_each(|bar| bar.set_position(bytes)),
            Download::Finished => bars.remove(&key).into_iter().for_each(|bar| bar.finish_and_clear()),
            Download::Failed => bars.remove(&key).into_iter().for_each(|bar| bar.abandon()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_lives_from_the_start_of_a_download_to_its_end() {
        let observer = HubBars::default();
        let count = || observer.bars.lock().expect("not poisoned").len();
        observer.download("o/data", "a", Download::Received { bytes: 1 });
        assert_eq!(count(), 0, "never started");
        observer.download("o/data", "a", Download::Started { size: Some(9) });
        observer.download("o/other", "a", Download::Started { size: None });
        observer.download("o/data", "a", Download::Received { bytes: 4 });
        let key = ("o/data".to_owned(), "a".to_owned());
        let bar = observer.bars.lock().expect("not poisoned")[&key].clone();
        assert_eq!((bar.position(), bar.length()), (4, Some(9)));
        observer.download("o/data", "a", Download::Finished);
        observer.download("o/other", "a", Download::Failed);
        assert!(bar.is_finished() && count() == 0);
    }
}
