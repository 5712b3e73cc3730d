//! What the commands do: one file per noun, each asks a node and shows the answer.

mod admin;
mod alert;
mod backup;
mod bundle;
mod cluster;
mod cluster_ip;
mod declare;
mod forced;
mod group;
mod keys;
pub(crate) mod lab;
mod level;
mod life;
mod members;
mod network;
mod record;
mod redact;
mod resource;
mod trees;
mod upkeep;
mod write;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use stead_model::view::View;

use crate::arguments::ClusterCommand;
use crate::failure::{Exit, Failure};
use crate::place::{self, Place, Remote};
use crate::reach::{Reached, reach};
use crate::screen;

/// Which lab and node are meant, and how the answer shall look.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) lab: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) remote: Option<Remote>,
    pub(crate) json: bool,
}

impl Asked {
    fn place(&self) -> Result<Place, Failure> {
        match &self.remote {
            Some(remote) => place::elsewhere(remote),
            None => place::find(self.lab.as_deref()),
        }
    }

    async fn reach(&self) -> Result<Reached, Failure> {
        reach(&self.place()?, self.node.as_deref()).await
    }

    async fn view(&self) -> Result<View, Failure> {
        Ok(self.reach().await?.view)
    }

    /// Shows a value as JSON or, for people, as the text made of it.
    fn show<T: serde::Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            screen::json(value);
        } else {
            screen::data(&text(value));
        }
    }
}

/// Runs work that talks to nodes.
pub(crate) fn with_runtime<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = built.map_err(|error| {
        Failure::new(Exit::Unreachable, "cannot talk to any node").because(error.to_string())
    })?;
    runtime.block_on(work)
}

/// Carries out a command that asks a node.
pub(crate) async fn cluster(asked: &Asked, command: ClusterCommand) -> Result<Exit, Failure> {
    match command {
        ClusterCommand::Status(arguments) => cluster::status(asked, &arguments).await,
        ClusterCommand::Attention => cluster::attention(asked).await,
        ClusterCommand::Metrics => cluster::metrics(asked).await,
        ClusterCommand::SupportBundle { output } => bundle::run(asked, output).await,
        ClusterCommand::Apply(arguments) => declare::apply(asked, arguments).await,
        ClusterCommand::Export(arguments) => declare::export(asked, arguments).await,
        ClusterCommand::Group(command) => group::run(asked, command).await,
        ClusterCommand::Resource(command) => resource::run(asked, command).await,
        ClusterCommand::ResourceType(command) => members::resource_type(asked, command).await,
        ClusterCommand::Cluster(command) => life::run(asked, command).await,
        ClusterCommand::Node(command) => members::node(asked, command).await,
        ClusterCommand::Network(command) => network::run(asked, command).await,
        ClusterCommand::Quorum(command) => members::quorum(asked, command).await,
        ClusterCommand::Events(arguments) => record::events(asked, arguments).await,
        ClusterCommand::Event(command) => record::event(asked, command).await,
        ClusterCommand::Admin(command) => admin::run(asked, command).await,
        ClusterCommand::Audit(arguments) => record::audit(asked, arguments).await,
        ClusterCommand::Alert(command) => alert::run(asked, command).await,
        ClusterCommand::Explain(command) => record::explain(asked, command).await,
        ClusterCommand::Report(command) => cluster::report(asked, command).await,
    }
}

/// A file for the eyes of whoever asked, where none is yet.
fn put_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file is none; that it cannot be removed matters less than why it is half.
        let _ = fs::remove_file(path);
    }
    written
}
