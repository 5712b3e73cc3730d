//! A group that needs what its programs are seen to use (A-102), with a program that uses it.

use e2e::{Roles, World, other, wait};
use stead_model::amounts::{Amounts, MEMORY};

const MIB: u64 = 1 << 20;
/// Keeps 64 MiB of its own, in a child of the shell that was started.
const COMMAND: &str = concat!(
    r#"/bin/sh -c 'sh -c ""#,
    r"a=\$(head -c 67108864 /dev/zero | tr \\\\0 x); sleep 1000 & wait",
    r#"" & wait'"#,
);

fn must(world: &World, words: &[&str]) {
    let said = world.stead(words);
    assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
}

#[test]
fn a102_a_group_needs_what_its_programs_use() {
    let world = World::up("measured");
    let leader = Roles::settled(&world).leads;
    must(&world, &["group", "create", "big", "demand=measured"]);
    let command = format!("command={COMMAND}");
    let kind = ["resource", "create", "hog", "--group", "big", "--type", "generic-application"];
    must(&world, &[&kind[..], &[&command, "is-alive=700ms"]].concat());
    must(&world, &["group", "online", "big", "--wait"]);
    let owner = world.group(leader, "big").owner.unwrap();
    let other = other(owner);
    must(&world, &["node", "capacity", &other.to_string(), "--measured"]);
    // Both nodes are told what the program uses, and that the group needs it on its owner.
    for node in [owner, other] {
        wait("what it uses is known", || {
            let view = world.view(node);
            let group = view.groups.iter().find(|g| g.group.as_str() == "big").unwrap();
            let used = group.resources[0].used.map_or(0, |used| used.memory);
            let on = |node| view.nodes.iter().find(|n| n.node == node).unwrap();
            let needed = on(owner).needed.get(MEMORY);
            let fits = (64 * MIB..128 * MIB).contains(&used) && needed == Some(used);
            let has = on(other).room.capacity.get(MEMORY).is_some_and(|has| has > 256 * MIB);
            let told = format!("uses {used}, needs {needed:?}, {:?}", on(other).room);
            if fits && has { Ok(()) } else { Err(told) }
        });
    }
    let said = world.stead(&["resource", "show", "hog"]);
    assert!(said.out.contains("memory="), "{}", said.out);
    // The one that is left knows it without having run it.
    world.crash(owner);
    world.taken_over("big", other);
    let view = world.view(other);
    let needed: &Amounts = &view.nodes.iter().find(|n| n.node == other).unwrap().needed;
    assert!(needed.get(MEMORY).is_some_and(|needed| needed >= 64 * MIB), "{needed}");
}
