//! `medley mix --report` and `--report-of DIR`: a mix as one HTML page.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use medley_files::FolderLock;
use medley_mixture::MixFolder;
use medley_run::{atomic, seconds_since_1970};
use medley_view::mix_page;
use miette::miette;

use crate::errors::report;
use crate::named_run;
use crate::progress::say;

/// The page's name in the mix's folder.
pub const PAGE: &str = "report.html";

/// Arguments of the page of a mix that is there.
#[derive(Args)]
pub struct PageArgs {
    /// Write DIR/report.html of an existing mix or of a run's (folder, name or hash): composition, lengths, languages,
    /// rejected records, origin and licences, samples
    #[arg(long, value_name = "DIR")]
    pub report_of: Option<PathBuf>,
}

/// Writes the page of the mix in `folder`.
pub fn run(folder: &Path, json: bool) -> miette::Result<ExitCode> {
    let folder = MixFolder::open(&named_run::mix_or_run(folder)?).map_err(report)?;
    check_own(&folder.path)?;
    let lock = FolderLock::take_for(&folder.path, "report").map_err(|error| {
        miette!(help = "wait for the other process or stop it", "{}: {error}", folder.path.display())
    })?;
    write(&folder, json)?;
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// Refuses to overwrite a `report.html` in `folder` that another program wrote.
pub fn check_own(folder: &Path) -> miette::Result<()> {
    let page = folder.join(PAGE);
    if page.exists() && !medley_view::is_own_page(&page) {
        return Err(miette!(
            help = "move it away, or choose another folder; nothing was changed",
            "{}: another program wrote this page",
            page.display()
        ));
    }
    Ok(())
}

/// Writes the page of an opened mix into its folder.
pub fn write(folder: &MixFolder, json: bool) -> miette::Result<()> {
    let html = mix_page(folder, seconds_since_1970()).map_err(report)?;
    let page = folder.path.join(PAGE);
    atomic::write_file(&page, html.as_bytes()).map_err(|error| {
        miette!(help = "check that the folder can be written to", "the page cannot be written: {error}")
    })?;
    if json {
        println!("{}", serde_json::json!({ "page": page, "bytes": html.len() }));
    }
    say(format!("page     {}", page.display()));
    Ok(())
}
