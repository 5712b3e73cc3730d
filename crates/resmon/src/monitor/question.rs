//! Questions about what is installed here, to the programs of external types and agents, and
//! control codes.

use stead_model::wire::monitor::{MonitorToNode, Question};

use super::node_port::NodeLink;
use super::seat::{Desk, Seat, Troubled, in_thread};
use crate::external::inspection;
use crate::types::agents;

/// Answers in a thread of its own. `seat` is that of the resource that is meant, if one is.
pub(super) fn begin(
    desk: &Desk,
    seat: Option<&Seat>,
    (request, question): (u64, Question),
    link: NodeLink,
) {
    let tell = move |answer: Answer| {
        let output = answer.0.map(String::into_bytes);
        link.send(MonitorToNode::Logs { request, output });
    };
    match question {
        Question::Types => {
            let root = desk.root.clone();
            let list = move || {
                let all = [inspection::installed(&root), agents::installed()].concat();
                Answer(serde_json::to_string(&all).map_err(|e| e.to_string()))
            };
            in_thread(list, tell);
        }
        Question::Agent { kind } => {
            let ask = move || {
                let json = |agent| serde_json::to_string(&agent).map_err(|e| e.to_string());
                Answer(agents::described(&kind).and_then(json))
            };
            in_thread(ask, tell);
        }
        Question::Control { code, text, .. } => match seat.and_then(Seat::open_call) {
            Some((kind, call)) => {
                let ask = move || {
                    let answer = kind.control(&call, &code, &text);
                    Answer(answer.map_err(|fault| fault.to_string()))
                };
                in_thread(ask, tell);
            }
            None => tell(Answer(Err("it does not run on this node".into()))),
        },
    }
}

struct Answer(Result<String, String>);

impl Troubled for Answer {
    fn trouble(why: String) -> Self {
        Self(Err(why))
    }
}
