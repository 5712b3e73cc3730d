//! The web server's own start, without stead: executed until it serves its first page.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stead_lab::demo::WebServer;
use stead_lab::demo_web;

use crate::interrupt;
use crate::server::{Server, free_port};

/// The web server was not started outside of a lab.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} to measure the start of the web server alone")]
pub(crate) struct WebStartError {
    step: &'static str,
    source: io::Error,
}

fn step(step: &'static str) -> impl Fn(io::Error) -> WebStartError {
    move |source| WebStartError { step, source }
}

/// Milliseconds of each of so many starts, on a port of the loopback.
pub(crate) fn measure(
    web: &WebServer,
    program: &Path,
    runs: u32,
) -> Result<Vec<f64>, WebStartError> {
    let pages = tempfile::tempdir().map_err(step("make a directory"))?;
    fs::write(pages.path().join("index.html"), "page\n").map_err(step("write a page"))?;
    (0..runs).map(|_| once(web, program, pages.path())).collect()
}

fn once(web: &WebServer, program: &Path, pages: &Path) -> Result<f64, WebStartError> {
    let port = free_port().map_err(step("find a free port"))?;
    let mut command = command(web, program, pages, port).map_err(step("configure it"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A server outside of the lab would outlive an interrupted program.
    let _held_off = interrupt::hold_off();
    let begun = Instant::now();
    let mut server = Server(command.spawn().map_err(step("start it"))?);
    let served =
        server.wait((START_LIMIT, Duration::ZERO), || page((Ipv4Addr::LOCALHOST, port).into()));
    served.map(|()| begun.elapsed().as_secs_f64() * 1e3).map_err(step("get a page of it"))
}

/// The command of the demo, on another port.
fn command(web: &WebServer, program: &Path, pages: &Path, port: u16) -> io::Result<Command> {
    let mut command = Command::new(match web {
        WebServer::Busybox(path) | WebServer::Nginx(path) => path.as_path(),
        WebServer::Own => program,
    });
    match web {
        WebServer::Busybox(_) => {
            command.args(["httpd", "-f", "-p"]).arg(format!("127.0.0.1:{port}"));
            command.arg("-h").arg(pages);
        }
        WebServer::Nginx(_) => {
            command.arg("-c").arg(nginx_conf(pages, port)?);
        }
        WebServer::Own => {
            command.args([demo_web::SUBCOMMAND, &port.to_string()]);
        }
    }
    Ok(command)
}

/// One process in the foreground, as in the demo.
fn nginx_conf(pages: &Path, port: u16) -> io::Result<PathBuf> {
    let conf = pages.join("nginx.conf");
    let dir = pages.display();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {dir}/body;\n  \
         proxy_temp_path {dir}/proxy;\n  fastcgi_temp_path {dir}/fastcgi;\n  \
         uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n  \
         server {{ listen 127.0.0.1:{port}; root {dir}; }}\n}}\n"
    );
    fs::write(&conf, text)?;
    Ok(conf)
}

fn page(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PAGE_LIMIT)?;
    stream.set_read_timeout(Some(PAGE_LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut head = [0; 16];
    let length = stream.read(&mut head)?;
    let good = head[..length].windows(5).any(|word| word == b" 200 ");
    if good { Ok(()) } else { Err(io::Error::other("it serves no page")) }
}

const START_LIMIT: Duration = Duration::from_secs(10);
const PAGE_LIMIT: Duration = Duration::from_secs(2);
