//! Programs that lie: each of four lies told to each kind of resource that runs what others wrote.
//! It is found, and named by what the program did.
//!
//! | | `generic-application` | `generic-script` | `ext:` |
//! |---|---|---|---|
//! | says online, is not | here; a probe: `applications` | here | here; the kit: `conformance` |
//! | prints garbage | here; floods: `hostile` | here | `external` |
//! | forks and ends | here | is a daemon: `scripts` | `external` |
//! | ignores TERM | `applications` | here | `external` |

use stead_model::order::{Action, OnlineSpec, Outcome};
use stead_model::resource::Health;

use crate::Story;
use crate::external::{has_python, install, rude};
use crate::scripts::script;
use crate::world::{Witness, World};

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    an_application_that_lies_is_named,
    a_script_that_lies_is_named,
    a_type_that_says_online_and_is_not_is_named,
];

/// Stays for ever, deaf, and is seen for as long as it lives.
const STAY: &str = "trap '' TERM; exec 9>$ROOT/life; echo >&9; while :; do sleep 1; done";
/// The same in the background.
const FORKS: &str = "exec 9>$ROOT/life; echo >&9; (while :; do sleep 1; done) & exit 0";

/// Garbage: bytes of every value, without an end of line and with control characters.
const GARBAGE: &str = "head -c 100000 /dev/urandom; printf '\\033[2J\\007rubbish'";

/// Why it failed, now or after it was online for a moment; nothing of it runs then.
fn failed(world: &mut World, spec: OnlineSpec) -> String {
    let order = world.order("liar", Action::Online(spec));
    let why = loop {
        match world.answer(order) {
            Outcome::Online => {}
            Outcome::Failed(why) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(world.ask("liar", Action::Terminate), Outcome::Offline, "{why}");
    assert!(world.status().admitted.is_empty(), "{why}: something of it runs");
    why
}

/// What its checks say after it came online.
fn bad(world: &mut World, spec: OnlineSpec) -> String {
    assert_eq!(world.ask("liar", Action::Online(spec)), Outcome::Online);
    loop {
        if let Outcome::Health(Health::Bad, why) = world.report().outcome {
            assert_eq!(world.ask("liar", Action::Terminate), Outcome::Offline);
            return why;
        }
    }
}

fn is_gone(life: &mut Witness) {
    life.wait_for_life();
    assert!(!life.lives(), "it is offline, and something of it lives");
}

fn an_application_that_lies_is_named() {
    let mut world = World::start();
    let mut life = world.witness("life");
    // It runs, and does not serve: it never gets online.
    let mut idle = world.script(STAY, &[("check", "/bin/sh -c 'echo deaf; exit 1'")]);
    idle.pending_timeout_ms = 700;
    let why = failed(&mut world, idle);
    assert!(why.starts_with("it did not come online within 700 ms"), "{why}");
    is_gone(&mut life);

    let forks = world.script(FORKS, &[]);
    let why = failed(&mut world, forks);
    assert_eq!(
        why,
        "the program ended with code 0: if it goes on in the background, it must be told to stay \
         in the foreground"
    );
    is_gone(&mut life);

    let garbage = world.script(&format!("{GARBAGE}; exit 9"), &[]);
    assert_eq!(failed(&mut world, garbage), "the program ended with code 9");
    let check = format!("/bin/sh -c \"{GARBAGE}; exit 9\"");
    let mut checked = world.script(STAY, &[("check", &check)]);
    checked.pending_timeout_ms = 700;
    let why = failed(&mut world, checked);
    assert!(why.starts_with("it did not come online within 700 ms"), "{why}");
}

fn a_script_that_lies_is_named() {
    let mut world = World::start();
    let mut life = world.witness("life");
    let nothing_runs = "online) ;;\nlooks-alive) echo it does not run; exit 1;;";
    let mut idle = script(&world, nothing_runs, &[]);
    idle.looks_alive_ms = 100;
    let why = bad(&mut world, idle);
    assert_eq!(why, "`looks-alive` ended with code 1: it does not run");

    let garbage = script(&world, &format!("online) {GARBAGE}; exit 9;;"), &[]);
    let why = failed(&mut world, garbage);
    assert!(why.starts_with("`online` ended with code 9: "), "{why:?}");
    assert!(why.ends_with("rubbish") && !why.contains(char::is_control), "{why:?}");
    assert!(why.len() < 8 << 10, "{} bytes", why.len());

    let deaf = script(&world, &format!("online) {STAY};;"), &[]);
    let mut hangs = deaf.clone();
    hangs.pending_timeout_ms = 500;
    let why = failed(&mut world, hangs);
    assert!(why.starts_with("it did not come online within 500 ms"), "{why}");
    is_gone(&mut life);
}

fn a_type_that_says_online_and_is_not_is_named() {
    if !has_python() {
        return;
    }
    let mut world = World::start();
    let truth = "r = None\n    if 'alive' in o['call']: \
                 r = {'health': 'bad', 'text': 'nobody\\nlistens'}\n";
    install(&world, "rude", &rude("pass").replace("r = None\n", truth));
    let mut spec = crate::world::spec("ext:rude", &[]);
    spec.looks_alive_ms = 100;
    let why = bad(&mut world, spec);
    assert_eq!(why, "nobody listens");
}
