//! Progress of downloads as events; who shows them is the caller's choice.

/// What happens to the download of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    /// It begins; the file's size in bytes, where the hub announces it.
    Started {
        /// Size in bytes.
        size: Option<u64>,
    },
    /// Bytes that are on disk, those of an earlier attempt included.
    Received {
        /// Number of bytes.
        bytes: u64,
    },
    /// The whole file is on disk.
    Finished,
    /// It ends with an error; what has arrived is kept for another attempt.
    Failed,
}

/// Receives the progress of downloads. Calls come from the thread that asked for the files; they should return soon.
pub trait HubObserver: Send + Sync {
    /// Called for every event of `file` in repository `id`: one [`Download::Started`], any number of
    /// [`Download::Received`], then [`Download::Finished`] or [`Download::Failed`].
    fn download(&self, id: &str, file: &str, event: Download);
}

/// Observer without effect.
pub(crate) struct Silent;

impl HubObserver for Silent {
    fn download(&self, _id: &str, _file: &str, _event: Download) {}
}
