//! `coracle system check`: whether everything is there and is what it is called.

use anyhow::Result;
use config::size;
use image::store::{CheckOptions, Kind, Outcome, Report};

use crate::cli::in_use::in_use;
use crate::cli::{Context, PARTLY, ui};

/// Check that all images are whole and sound; exits with 0 if they are, with 1 if not
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Mend what can be mended, give up what cannot, and remove what nobody needs
    #[arg(long)]
    repair: bool,
    /// Look at names, sizes and first blocks only, not at all content
    #[arg(long)]
    quick: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let options = CheckOptions { repair: arguments.repair, deep: !arguments.quick };
    let report = context.store()?.check(options, &|| in_use(&context.folders))?;
    for problem in &report.problems {
        let kind = match problem.kind {
            Kind::Damage => "damaged",
            Kind::Leftover => "left over",
        };
        let outcome = match &problem.outcome {
            Outcome::Found => String::new(),
            Outcome::Repaired(how) => format!(" ({how})"),
            Outcome::Failed(why) => format!(" (not repaired: {why})"),
        };
        ui::line(&format!("{kind}: {}: {}{outcome}", problem.subject, problem.what))?;
    }
    ui::line(&summary(&report))?;
    if report.is_sound() {
        return Ok(0);
    }
    if !arguments.repair {
        ui::say("coracle system check --repair mends what can be mended");
    }
    Ok(PARTLY)
}

fn summary(report: &Report) -> String {
    let counts = format!("{} images, {} blobs, {} layers", report.images, report.blobs, report.layers);
    let partial = match report.partial {
        0 => String::new(),
        bytes => format!("; {} of downloads that broke off are kept to go on with", size::human(bytes)),
    };
    let verdict = match (report.is_sound(), report.problems.iter().any(|problem| problem.kind == Kind::Damage)) {
        (true, false) => "sound",
        (true, true) => "repaired",
        (false, _) => "damaged",
    };
    format!("{verdict}: {counts}{partial}")
}
