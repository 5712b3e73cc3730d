//! The web server of the demo: an unmodified one if this host has it, and its group.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stead_model::group::{Desired, GroupPolicy};
use stead_model::request::Request;
use stead_model::{GroupId, ResourceId};

use super::{DemoError, GROUP, virtual_address};
use crate::cabling::{PREFIX_LEN, Station};
use crate::cluster::Cluster;
use crate::demo_web;
use crate::init::PROGRAM_DIR;
use crate::lab::Lab;
use crate::step::{Step, StepError};
use crate::supervisor::WWW_DIR;

/// The web server that runs in the demo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WebServer {
    /// busybox httpd.
    Busybox(PathBuf),
    /// nginx.
    Nginx(PathBuf),
    /// The small one of the lab, run as a program of its own.
    Own,
}

impl WebServer {
    /// The first that this host has.
    #[must_use]
    pub fn find() -> Self {
        if let Some(busybox) = program("busybox").filter(|path| has_httpd(path)) {
            return Self::Busybox(busybox);
        }
        program("nginx").map_or(Self::Own, Self::Nginx)
    }

    /// What the resource runs.
    fn command(&self) -> String {
        match self {
            Self::Busybox(path) => format!("{} httpd -f -p 80 -h {WWW_DIR}", path.display()),
            Self::Nginx(path) => format!("{} -c {WWW_DIR}/nginx.conf", path.display()),
            Self::Own => format!("{PROGRAM_DIR}/stead {}", demo_web::SUBCOMMAND),
        }
    }
}

impl fmt::Display for WebServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busybox(path) => write!(f, "busybox httpd ({})", path.display()),
            Self::Nginx(path) => write!(f, "nginx ({})", path.display()),
            Self::Own => f.write_str("the lab's own (neither busybox httpd nor nginx is here)"),
        }
    }
}

/// Writes the pages of all nodes and creates the group: the address, and the server that needs it.
pub fn create_group(lab: &Lab, cluster: &Cluster<'_>, web: &WebServer) -> Result<(), DemoError> {
    for node in lab.record().node_ids() {
        write_pages(lab, Station::Node(node))?;
    }
    let group = GroupId::from(GROUP);
    let (address, server) = (ResourceId::from("web-address"), ResourceId::from("web-server"));
    let resource = |id: &ResourceId, kind: &str, name: &str, value: String| {
        let properties = BTreeMap::from([(name.to_owned(), value)]);
        let (group, resource, kind) = (group.clone(), id.clone(), kind.to_owned());
        Request::CreateResource { group, resource, kind, properties }
    };
    let prefixed = format!("{}/{PREFIX_LEN}", virtual_address());
    let requests = [
        // Nothing starts before all of it is described.
        Request::CreateGroup { group: group.clone(), policy: GroupPolicy::default() },
        Request::SetGroupDesired { group: group.clone(), desired: Desired::Offline },
        resource(&address, "ip-address", "address", prefixed),
        resource(&server, "generic-application", "command", web.command()),
        Request::SetDependencies {
            resource: server.clone(),
            depends_on: BTreeSet::from([address.clone()]),
        },
        Request::SetGroupDesired { group: group.clone(), desired: Desired::Online },
    ];
    for request in &requests {
        cluster.request(request)?;
    }
    Ok(())
}

fn write_pages(lab: &Lab, station: Station) -> Result<(), StepError> {
    let dir = lab.record().dirs.station(&station.name()).join("www");
    let page = dir.join("index.html");
    fs::write(&page, format!("{station}\n")).step("write", page.display())?;
    let conf = dir.join("nginx.conf");
    fs::write(&conf, NGINX_CONF).step("write", conf.display())
}

/// One process in the foreground, and nothing outside of the node's own places.
const NGINX_CONF: &str = "\
daemon off;
master_process off;
pid /run/demo-nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path /tmp/nginx-body;
  proxy_temp_path /tmp/nginx-proxy;
  fastcgi_temp_path /tmp/nginx-fastcgi;
  uwsgi_temp_path /tmp/nginx-uwsgi;
  scgi_temp_path /tmp/nginx-scgi;
  server { listen 80; root /srv/stead-demo; }
}
";

fn program(name: &str) -> Option<PathBuf> {
    let dirs = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
    dirs.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

fn has_httpd(busybox: &Path) -> bool {
    let listed = Command::new(busybox).arg("--list").stderr(Stdio::null()).output();
    listed.is_ok_and(|listed| {
        String::from_utf8_lossy(&listed.stdout).lines().any(|applet| applet == "httpd")
    })
}
