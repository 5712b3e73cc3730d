//! A lab to measure in, with the demo group in it; it ends with its owner, whatever happened.

use std::net::SocketAddrV4;
use std::time::Duration;

use stead_lab::cluster::{Cluster, ClusterError};
use stead_lab::demo::{self, DemoError, GROUP, WebServer};
use stead_lab::example::{self, Example, ExampleError, InstallError};
use stead_lab::prober::{Attempt, Prober};
use stead_lab::{
    ControlError, DownError, ExecError, Lab, NodeError, Station, StepError, UpError, UpOptions,
    boot_ns,
};
use stead_model::NodeId;
use stead_model::request::Request;
use stead_model::view::GroupView;

use crate::bench::{Bench, Outcome};
use crate::figure::Case;
use crate::postgres_start::PostgresStartError;
use crate::processes::ProcessError;
use crate::screen;
use crate::web_start::WebStartError;

/// A case was not measured; its lab is gone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    /// No lab.
    #[error(transparent)]
    Up(#[from] UpError),
    /// No clean end of the lab.
    #[error(transparent)]
    Down(#[from] DownError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The supervisor.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A node did not come back.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The client.
    #[error(transparent)]
    Client(#[from] ExecError),
    /// The group of the demo.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// There is no such example.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// The group of an example.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// PostgreSQL outside of the lab.
    #[error(transparent)]
    PostgresStart(#[from] PostgresStartError),
    /// This host.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The processes of a node.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The web server outside of the lab.
    #[error(transparent)]
    WebStart(#[from] WebStartError),
    /// Something happened while nothing should.
    #[error("{node} was not left alone: its processes changed: {change}")]
    NotLeftAlone {
        /// Where.
        node: NodeId,
        /// What came and went.
        change: String,
    },
    /// The client waited in vain.
    #[error("{what}: no good answer within {} s", .limit.as_secs())]
    NoAnswer {
        /// After what.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// Not all of what was asked for runs.
    #[error("of what shall be online on {node} only {online} resources are, {inits} inits run")]
    NotOnline {
        /// Where.
        node: NodeId,
        /// Resources online.
        online: usize,
        /// Inits of applications and agents' places.
        inits: usize,
    },
    /// The cluster serves but not as it should.
    #[error("the group {0}")]
    Group(&'static str),
}

/// A running lab.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    bench: &'a Bench,
    lab: Option<Lab>,
    group: String,
    pub(crate) web: WebServer,
}

impl<'a> Site<'a> {
    /// `lab up`; what the lab goes without is noted.
    pub(crate) fn up(
        bench: &'a Bench,
        case: &Case,
        outcome: &mut Outcome,
    ) -> Result<Self, MeasureError> {
        Self::make(bench, UpOptions::new(&bench.lab), case, outcome)
    }

    /// `lab up` with the last node waiting to be added.
    pub(crate) fn with_spare(
        bench: &'a Bench,
        case: &Case,
        outcome: &mut Outcome,
    ) -> Result<Self, MeasureError> {
        let options = UpOptions { spares: 1, ..UpOptions::new(&bench.lab) };
        Self::make(bench, options, case, outcome)
    }

    /// A lab like `what`, with nodes and profile of the case.
    fn make(
        bench: &'a Bench,
        what: UpOptions,
        case: &Case,
        outcome: &mut Outcome,
    ) -> Result<Self, MeasureError> {
        let options = UpOptions {
            nodes: case.nodes,
            profile: case.profile,
            program: Some(bench.program.clone()),
            home: bench.home.clone(),
            ..what
        };
        let lab = stead_lab::up(&options, &mut |_| {})?;
        let group = GROUP.to_owned();
        let site = Self { bench, lab: Some(lab), group, web: WebServer::find() };
        for missing in site.lab().status()?.missing {
            outcome.note(format!("the lab goes without: {missing}"));
        }
        Ok(site)
    }

    /// `lab up` and the group of the demo, online.
    pub(crate) fn with_group(
        bench: &'a Bench,
        case: &Case,
        outcome: &mut Outcome,
    ) -> Result<Self, MeasureError> {
        let site = Self::up(bench, case, outcome)?;
        site.create_group()?;
        outcome.note(format!("web server: {}", site.web));
        site.settle()?;
        Ok(site)
    }

    /// `lab up` and the group of an example, online.
    pub(crate) fn with_example(
        bench: &'a Bench,
        case: &Case,
        outcome: &mut Outcome,
        example: &Example,
    ) -> Result<Self, MeasureError> {
        let disks = example.lab.disks.clone();
        let what = UpOptions { disks, ..UpOptions::new(&bench.lab) };
        let group = example.group.group.as_str().to_owned();
        let mut site = Self::make(bench, what, case, outcome)?;
        site.group = group;
        example::install(site.lab(), example, &mut |_| {})?;
        site.settle()?;
        Ok(site)
    }

    pub(crate) fn create_group(&self) -> Result<(), MeasureError> {
        Ok(demo::create_group(self.lab(), &self.cluster(), &self.web)?)
    }

    pub(crate) fn lab(&self) -> &Lab {
        self.lab.as_ref().expect("it is taken only by what consumes the site")
    }

    pub(crate) fn cluster(&self) -> Cluster<'_> {
        Cluster::of(self.lab())
    }

    /// The client begins to ask.
    pub(crate) fn prober(&self) -> Result<Prober, MeasureError> {
        Ok(Prober::start(self.lab(), SocketAddrV4::new(demo::virtual_address(), 80))?)
    }

    /// Waits until nothing is left to do: all nodes up, leases short, the group online.
    pub(crate) fn settle(&self) -> Result<GroupView, MeasureError> {
        self.settle_nodes()?;
        Ok(self.cluster().wait_online(&self.group, None, SETTLE_LIMIT)?)
    }

    /// Waits until all nodes are up and leases are short.
    pub(crate) fn settle_nodes(&self) -> Result<(), MeasureError> {
        let cluster = self.cluster();
        cluster.wait_serving(SETTLE_LIMIT)?;
        cluster.wait(SETTLE_LIMIT, "no settled cluster", || {
            for node in self.lab().record().node_ids() {
                let view = cluster.view(node).map_err(|error| error.to_string())?;
                if let Some(long) = view.nodes.iter().find(|seen| seen.lease_longer) {
                    return Err(format!("leases of {} are still long", long.node));
                }
                if view.quorum.leader.is_none() {
                    return Err(format!("{node} knows no leader"));
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The owner of the group and the first of the other nodes.
    pub(crate) fn owner_and_other(&self) -> Result<(NodeId, NodeId), MeasureError> {
        let owner = self.settle()?.owner.ok_or(MeasureError::Group("has no owner"))?;
        let other = self.lab().record().node_ids().find(|node| *node != owner);
        Ok((owner, other.ok_or(MeasureError::Group("has no other node to go to"))?))
    }

    /// Asks for a change and waits until it is committed.
    pub(crate) fn request(&self, request: &Request) -> Result<(), MeasureError> {
        self.cluster().request(request)?;
        Ok(())
    }

    /// Ends the lab.
    pub(crate) fn down(mut self) -> Result<(), MeasureError> {
        self.lab = None;
        stead_lab::down(&self.bench.home, Some(&self.bench.lab))?;
        Ok(())
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if self.lab.take().is_some()
            && let Err(error) = stead_lab::down(&self.bench.home, Some(&self.bench.lab))
        {
            screen::talk(&screen::chain(&error));
        }
    }
}

/// Waits for a good answer to a question asked from now on, by anybody or by one station.
pub(crate) fn wait_good(
    prober: &Prober,
    by: Option<Station>,
    what: &str,
) -> Result<Attempt, MeasureError> {
    wait_good_after(prober, boot_ns(), by, what)
}

/// Waits for a good answer to a question asked after a moment of CLOCK_BOOTTIME.
pub(crate) fn wait_good_after(
    prober: &Prober,
    after_ns: u64,
    by: Option<Station>,
    what: &str,
) -> Result<Attempt, MeasureError> {
    let limit = ANSWER_LIMIT;
    let answered = prober.wait_good(after_ns, by, limit);
    answered.ok_or_else(|| MeasureError::NoAnswer { what: what.to_owned(), limit })
}

/// As long as the demo waits for the same.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
