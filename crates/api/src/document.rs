//! The OpenAPI document: generated from handlers and types, pinned as `openapi.json`.

use stead_model::view::{GroupView, NodeView};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use crate::routes;

/// The pinned document, the one that is served.
pub const PINNED: &str = include_str!("../openapi.json");

/// Generates the document from the code.
#[must_use]
pub fn generate() -> OpenApi {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").build();
    let info = InfoBuilder::new()
        .title("stead")
        .description(Some("Failover cluster service: what may be read and asked of a node"))
        .version("1")
        .license(Some(license))
        .build();
    let mut document = OpenApiBuilder::new().info(info).build();
    document.merge(routes::read_paths());
    document.merge(routes::write_paths());
    document.merge(routes::alert_paths());
    document.merge(routes::audit_paths());
    document.merge(routes::cluster_ip_paths());
    document
}

/// A group without resources, for examples and tests.
#[must_use]
pub fn example_group(name: &str) -> GroupView {
    use stead_model::group::{Desired, GroupPolicy, GroupState};
    use stead_model::view::SafetyLevel;
    use stead_model::{Epoch, NodeId};
    GroupView {
        group: name.into(),
        state: GroupState::Online,
        desired: Desired::Online,
        owner: Some(NodeId(1)),
        epoch: Epoch(1),
        why: "created".into(),
        failed: None,
        safety: SafetyLevel::C,
        safety_why: "it has no reserved disk: lease and guard stop a former owner".into(),
        failovers: 0,
        failover_limit: 6,
        failovers_until: None,
        retry_at: None,
        servers: Vec::new(),
        waits: None,
        against: None,
        policy: GroupPolicy::default(),
        resources: Vec::new(),
    }
}

/// A node that is up, alone and empty, for examples and tests.
#[must_use]
pub fn example_node(number: u16) -> NodeView {
    use stead_model::NodeId;
    use stead_model::amounts::Amounts;
    use stead_model::room::Room;
    use stead_model::view::NodeState;
    NodeView {
        node: NodeId(number),
        name: format!("node{number}"),
        addresses: Vec::new(),
        state: NodeState::Up,
        votes: true,
        heard_at: None,
        lease_longer: false,
        absent: false,
        left: false,
        links: Vec::new(),
        room: Room::default(),
        needed: Amounts::default(),
        program: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_document_is_the_generated_one() {
        let mut text = generate().to_pretty_json().unwrap();
        text.push('\n');
        if std::env::var_os("UPDATE").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
            std::fs::write(path, &text).unwrap();
            return;
        }
        assert!(text == PINNED, "openapi.json is out of date: run this test with UPDATE=1");
    }
}
