//! An explanation for machines.

use serde_json::{Value, json};

use crate::proxy::rehearse::{Message, Step};

use super::{Explanation, Outcome};

impl Explanation {
    /// As a JSON object. `outcome` is `forwarded`, `answered` or `refused`.
    pub fn to_json(&self) -> Value {
        let (outcome, service, answer, refused) = match &self.outcome {
            Outcome::Forwarded(service) => ("forwarded", Some(service), None, None),
            Outcome::Answered(answer) => ("answered", None, Some(answer), None),
            Outcome::Refused { refused, answer, .. } => ("refused", None, answer.as_ref(), refused.as_ref()),
        };
        json!({
            "request": self.request,
            "client": self.client,
            "request_id": self.performance.found.id,
            "route": self.route.as_ref().map(|route| json!({
                "name": route.name,
                "written": route.written,
                "reasons": route.reasons,
                "service": route.service,
                "observes": route.observes,
                "websocket": route.websocket,
            })),
            "not": self.others.iter().map(|other| json!({
                "name": other.name,
                "written": other.written,
                "reason": other.reason,
            })).collect::<Vec<_>>(),
            "caller": self.caller,
            "note": self.note,
            "conditions": self.conditions.iter().map(|asked| json!({
                "condition": asked.condition,
                "met": asked.met,
                "observed": asked.observed,
            })).collect::<Vec<_>>(),
            "limits": self.limits.iter().map(|limit| json!({
                "policy": limit.policy,
                "allows": limit.allows,
                "of": limit.of,
                "each": limit.each,
                "cost": limit.cost,
                "left": limit.left,
            })).collect::<Vec<_>>(),
            "parameters": self.parameters.iter().map(|parameter| json!({
                "place": parameter.place,
                "name": parameter.name,
                "came": parameter.came,
                "goes": parameter.goes,
                "fate": parameter.fate.word(),
                "note": parameter.note,
            })).collect::<Vec<_>>(),
            "outcome": outcome,
            "refused": refused.map(|refused| json!({ "step": word(refused.step), "code": refused.code })),
            "service_request": service.map(message),
            "answer": answer.map(message),
        })
    }
}

fn word(step: Step) -> &'static str {
    match step {
        Step::Request => "request",
        Step::Route => "route",
        Step::Caller => "caller",
        Step::Conditions => "conditions",
        Step::Limits => "limits",
        Step::Contract => "contract",
        Step::Service => "service",
    }
}

/// A body that is no text is left out; its size is always there.
fn message(message: &Message) -> Value {
    let field = |(name, value): &(String, Vec<u8>)| json!([name, String::from_utf8_lossy(value)]);
    json!({
        "start": message.start,
        "fields": message.fields.iter().map(field).collect::<Vec<_>>(),
        "body": std::str::from_utf8(&message.body).ok(),
        "body_bytes": message.body.len(),
    })
}
