//! What all benchmarks share: what was asked for, the program, the name of the lab; and how they
//! tell what became of their cases.

use std::error::Error;
use std::path::PathBuf;

use serde::Serialize;
use stead_lab::Home;
use stead_model::profile::Profile;

use crate::figure::{Case, Figure};
use crate::program::{self, ProgramError};
use crate::scale::Load;
use crate::screen;

/// How to measure.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
pub(crate) struct Options {
    /// How often each figure is taken; by default 10 times, `up` 5 times.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// How long an idle node is watched.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Only this profile; may be repeated. Default: standard and fast, `up` standard.
    #[arg(long, value_parser = parse_profile)]
    profile: Vec<Profile>,
    /// Only this number of nodes; may be repeated. Default: 2, `outage` 2 and 3, `members` 2, 3, 5,
    /// 8 and 16, `placement` 16 and 32. A lab has at most 16.
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=64))]
    nodes: Vec<u16>,
    /// `scale`: so many `generic-application` instead of the usual loads.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=5000))]
    apps: Option<u32>,
    /// `scale`: so many `ocf:pacemaker:Dummy`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=5000))]
    agents: Option<u32>,
    /// `scale`: all of them in so many groups.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    groups: u32,
    /// One JSON document on standard output.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also writes the tables to `bench/results/NAME.md`.
    #[arg(long)]
    pub(crate) save: bool,
}

impl Options {
    /// What `scale` brings online.
    pub(crate) fn loads(&self) -> Vec<Load> {
        let groups = self.groups;
        match (self.apps, self.agents) {
            (None, None) => Load::USUAL.map(|usual| Load { groups, ..usual }).to_vec(),
            (apps, agents) => {
                let (apps, agents) = (apps.unwrap_or(0), agents.unwrap_or(0));
                vec![Load { apps, agents, groups }]
            }
        }
    }
}

fn parse_profile(name: &str) -> Result<Profile, String> {
    Profile::parse(name).ok_or_else(|| "use standard, fast or relaxed".into())
}

/// One call of the program.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Bench {
    pub(crate) options: Options,
    /// What is measured.
    pub(crate) program: PathBuf,
    /// What it says it is.
    pub(crate) version: String,
    /// The name of every lab; there is one at a time.
    pub(crate) lab: String,
    pub(crate) home: Home,
}

impl Bench {
    /// Finds the program.
    pub(crate) fn new(options: Options) -> Result<Self, ProgramError> {
        let program = program::find()?;
        let version = program::version(&program)?;
        let lab = format!("bench-{}", std::process::id());
        Ok(Self { options, program, version, lab, home: Home::of_user() })
    }

    /// How often, unless something else was asked for.
    pub(crate) fn runs(&self, usual: u32) -> u32 {
        self.options.runs.unwrap_or(usual)
    }

    /// All labs to measure in, unless others were asked for.
    pub(crate) fn cases(&self, profiles: &[Profile], nodes: &[u16]) -> Vec<Case> {
        let Options { profile: asked_profiles, nodes: asked_nodes, .. } = &self.options;
        let profiles = if asked_profiles.is_empty() { profiles } else { asked_profiles };
        let nodes = if asked_nodes.is_empty() { nodes } else { asked_nodes };
        let of_nodes = |nodes: u16| profiles.iter().map(move |profile| Case::of(*profile, nodes));
        nodes.iter().copied().flat_map(of_nodes).collect()
    }
}

/// What became of a benchmark.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) figures: Vec<Figure>,
    /// What a reader must know.
    pub(crate) notes: Vec<String>,
    /// Cases that were not measured, and why.
    pub(crate) failures: Vec<String>,
}

impl Outcome {
    /// Measures every case, also when another one failed.
    pub(crate) fn over<E: Error>(
        cases: &[Case],
        mut measure: impl FnMut(Case, &mut Self) -> Result<(), E>,
    ) -> Self {
        let mut outcome = Self::default();
        for case in cases {
            screen::talk(&format!("{case}:"));
            if let Err(error) = measure(*case, &mut outcome) {
                let failure = format!("{case}: {}", screen::chain(&error));
                screen::talk(&failure);
                outcome.failures.push(failure);
            }
        }
        outcome
    }

    /// Says it once.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }
}
