//! What the API needs of a node service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use stead_model::external::Installed;
use stead_model::reason::Reason;
use stead_model::request::{Answer, Envelope};
use stead_model::view::View;
use stead_model::{AlertId, GroupId, RequestId, ResourceId};

use crate::contract::{
    AuditLog, Audited, Control, Controlled, Events, Explanation, Logs, NodeRecords, Tested,
    Timeouts,
};

/// A value that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The node service behind the API.
///
/// Nothing here may block the thread; waiting is a future.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The last published view.
    fn view(&self) -> Arc<View>;

    /// Hands a request to the core and waits for its answer.
    fn request(&self, envelope: Envelope) -> Later<'_, Answer>;

    /// Records with numbers from `since` on, at most `limit`.
    fn events(&self, since: u64, limit: usize) -> Events;

    /// All records that the nodes of the cluster keep for readers, a node each. Who does not
    /// answer in time is told with the reason.
    fn events_of_all(&self) -> Later<'_, Vec<NodeRecords>>;

    /// Completes when a record with the number `next` or a later one exists.
    fn events_after(&self, next: u64) -> Later<'_, ()>;

    /// Adds a line to the audit log, which gives it its number.
    fn audit(&self, entry: Audited);

    /// Lines of the audit log with numbers from `since` on, at most `limit`.
    fn audited(&self, since: u64, limit: usize) -> AuditLog;

    /// Completes when a line of the audit log with the number `next` or a later one exists.
    fn audited_after(&self, next: u64) -> Later<'_, ()>;

    /// The last `lines` lines that a resource wrote on this node.
    fn logs<'a>(
        &'a self,
        resource: &'a ResourceId,
        lines: usize,
    ) -> Later<'a, Result<Logs, Reason>>;

    /// What external types and agents are installed on this node; agents by name only.
    ///
    /// # Errors
    /// Nobody can tell.
    fn installed_types(&self) -> Later<'_, Result<Vec<Installed>, Reason>>;

    /// What an agent says of itself on this node.
    ///
    /// # Errors
    /// It is not installed here, or nobody can tell.
    fn agent<'a>(&'a self, kind: &'a str) -> Later<'a, Result<Installed, Reason>>;

    /// Asks something of the type's own of a resource that runs on this node, for `who`.
    ///
    /// # Errors
    /// It does not run here, or its type cannot do that.
    fn control<'a>(
        &'a self,
        who: &'a str,
        resource: &'a ResourceId,
        control: Control,
    ) -> Later<'a, Result<Controlled, Reason>>;

    /// Tells a sample by an alert from this node, for `who`, and says how it went.
    ///
    /// # Errors
    /// There is no such alert, or it did not get through.
    fn test_alert<'a>(
        &'a self,
        who: &'a str,
        alert: &'a AlertId,
    ) -> Later<'a, Result<Tested, Reason>>;

    /// Why a group is where it is.
    ///
    /// # Errors
    /// There is no such group.
    fn explain_group<'a>(&'a self, group: &'a GroupId) -> Later<'a, Result<Explanation, Reason>>;

    /// All timeouts and where they come from.
    fn explain_timeouts(&self) -> Timeouts;

    /// A new identity for a request whose client gave none.
    fn next_request_id(&self) -> RequestId;
}
