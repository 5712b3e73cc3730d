//! PostgreSQL on a clustered disk, as Debian ships it, while everything goes wrong that may: each
//! row that a client was promised is there afterwards, and none of an owner that was fenced.
//!
//! Round by round one trouble by chance; `STEAD_ROUNDS=200 STEAD_SEED=n`. By default 15 rounds.

use e2e::trouble::{self, Dice, Kind, Outages};
use e2e::{Database, ONE, PATIENCE, Roles, TWO, World, database, other, tell, wait};
use stead_lab::boot_ns;
use stead_lab::ledger::Ledger;
use stead_model::NodeId;

/// Databases under trouble, each with its client.
struct Bank {
    clients: Vec<Ledger>,
    databases: Vec<Database>,
    world: World,
}

impl Bank {
    fn set(name: &str, databases: Vec<(Database, NodeId)>) -> Self {
        let disks: Vec<String> = databases.iter().map(|(db, _)| db.group.clone()).collect();
        let world = World::with(name, |options| options.disks = disks);
        let _ = Roles::settled(&world);
        for (database, on) in &databases {
            database.create(&world, *on);
        }
        let databases: Vec<Database> = databases.into_iter().map(|(db, _)| db).collect();
        let clients = databases.iter().map(|database| database.write(&world, 1)).collect();
        let bank = Self { clients, databases, world };
        bank.whole(boot_ns());
        bank
    }

    /// Waits until the cluster is whole and every client is served, by a row sent after a moment.
    fn whole(&self, after_ns: u64) {
        let _ = Roles::settled(&self.world);
        for client in &self.clients {
            let served = client.wait_acknowledged(after_ns, PATIENCE);
            assert!(served.is_some(), "a client is not served: {:?}", client.entries().last());
        }
    }

    fn owner(&self, database: &Database) -> NodeId {
        wait(&format!("{} has an owner", database.group), || {
            let group = self.world.group(ONE, &database.group);
            group.owner.ok_or_else(|| format!("{group:?}"))
        })
    }

    /// One trouble for the owner of one database; the outage of each client, milliseconds.
    fn round(&self, victim: usize, kind: Kind) -> Vec<f64> {
        let database = &self.databases[victim];
        let owner = self.owner(database);
        let begun_ns = boot_ns();
        trouble::bring(&self.world, database, owner, kind);
        self.whole(boot_ns());
        let outage = |client: &Ledger| client.outage_ns(begun_ns).unwrap_or(0) as f64 / 1e6;
        self.clients.iter().map(outage).collect()
    }

    /// The last judgement: what was promised is there.
    fn judge(self) {
        let Self { clients, databases, world } = self;
        for (database, client) in databases.iter().zip(clients) {
            let entries = client.stop();
            let rows = database.rows(&world);
            let promised = entries.iter().filter(|entry| entry.told.is_some()).count();
            let kept = database::kept(&entries, &rows);
            kept.unwrap_or_else(|why| panic!("{}: {why}", database.group));
            let history = database.history(&world);
            let alone = database::one_writer(&history);
            alone.unwrap_or_else(|deed| panic!("{}: its disk saw {deed}", database.group));
            tell(&format!(
                "{}: {promised} rows acknowledged, all there; {} in doubt",
                database.group,
                entries.len() - promised
            ));
        }
    }
}

/// 15, unless a number was asked for.
fn rounds() -> usize {
    if std::env::var_os("STEAD_ROUNDS").is_some() { e2e::rounds() } else { 15 }
}

#[test]
fn postgresql_keeps_what_it_promised() {
    if Database::impossible() {
        return;
    }
    let mut dice = Dice::cast();
    let bank = Bank::set("postgres", vec![(Database::new("db", 50), ONE)]);
    let mut outages = Outages::default();
    for round in 1..=rounds() {
        let kind = dice.kind();
        let ms = bank.round(0, kind)[0];
        tell(&format!("round {round}: {kind}: outage {ms:.0} ms"));
        outages.add(kind, ms);
    }
    bank.judge();
    outages.table().lines().for_each(tell);
}

#[test]
fn postgresql_active_active() {
    if Database::impossible() {
        return;
    }
    let mut dice = Dice::cast();
    let databases = vec![(Database::new("left", 51), ONE), (Database::new("right", 52), TWO)];
    let bank = Bank::set("two-databases", databases);
    let mut outages = Outages::default();
    for round in 1..=rounds().div_ceil(3) {
        // Apart again: each on a node of its own.
        let left = bank.owner(&bank.databases[0]);
        bank.world.place("right", other(left));
        bank.whole(boot_ns());
        let victim = dice.below(2);
        let kind = dice.kind();
        let ms = bank.round(victim, kind);
        let name = &bank.databases[victim].group;
        tell(&format!("round {round}: {kind} for {name}: outages {ms:.0?} ms"));
        outages.add(kind, ms[victim]);
    }
    bank.judge();
    outages.table().lines().for_each(tell);
}
