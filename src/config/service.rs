//! The microservices behind the gateway.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::schema;
use super::tls::ServiceTls;
use super::values::{BalanceKey, Duration, RetryOn, Share, Statuses};

/// A microservice behind the gateway: exactly one of `url` and `targets`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = schema::exactly_one(&["url", "targets"])))]
pub struct Service {
    /// `http://host[:port][/path]`, or `https:`; the path is put before every service path.
    #[serde(default)]
    pub url: Option<String>,
    /// The addresses of its instances.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// What is spoken with them.
    #[serde(default)]
    pub protocol: Protocol,
    /// How TLS is spoken with it. Default: with a `url` that begins with `https:` as with any server, else not at all.
    #[serde(default)]
    pub tls: Option<ServiceTls>,
    /// Which of them gets a request.
    #[serde(default)]
    pub balance: Balance,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Asks each target regularly whether it is well. Absent: only requests show it.
    #[serde(default)]
    pub health: Option<Health>,
    /// When a target that fails requests gets none for a while.
    #[serde(default)]
    pub ejection: Ejection,
    /// A target that comes back gets its share little by little over this time.
    #[serde(default = "default_slow_start")]
    pub slow_start: Duration,
    /// When a request is sent again. Absent: twice at most, to targets that were not tried yet, when no connection can
    /// be opened.
    #[serde(default)]
    pub retries: Option<Retries>,
    /// Most requests that it works on at the same time; further ones wait in `queue`, or are answered 503 at once. Absent:
    /// no cap.
    #[serde(default)]
    pub max_requests: Option<u32>,
    /// How requests beyond `max_requests` wait for their turn, first come, first served. Absent: they do not.
    #[serde(default)]
    pub queue: Option<Queue>,
    /// Send the client's `Host` instead of the service's own.
    #[serde(default)]
    pub preserve_host: bool,
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `host:port`.
    pub address: String,
    /// Its share of the requests beside the weights of the others; of a name each address has it. 0: nothing new.
    #[serde(default = "default_weight")]
    #[schemars(range(max = 100))]
    pub weight: u32,
}

/// How requests wait for their turn.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// So many at most; further ones are answered 503 at once.
    #[schemars(range(min = 1))]
    pub max: u32,
    /// For so long at most; then they are answered 503.
    #[serde(default = "default_queue_timeout")]
    pub timeout: Duration,
}

/// What is spoken with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, which gRPC needs: many requests on one connection.
    Http2,
}

/// Which target gets a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Of two that are drawn, the one with fewer requests in flight.
    LeastRequests,
    /// Drawn.
    Random,
    /// Always the same for the same value of this key, as long as it is there.
    ConsistentHash(BalanceKey),
}

/// How targets are chosen, as one word.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum BalanceWord {
    /// Each in turn.
    RoundRobin,
    /// Of two that are drawn, the one with fewer requests in flight.
    LeastRequests,
    /// Drawn.
    Random,
}

/// How targets are chosen, with what it takes.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BalanceBy {
    /// Always the same target for the same value of a key, as long as it is there.
    consistent_hash: ConsistentHash,
}

/// Of what the same value leads to the same target.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConsistentHash {
    /// The key. Requests without it take the targets in turn.
    key: BalanceKey,
}

/// How long a service may take.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Duration,
    /// From the end of the request to the reply's whole header.
    pub response: Duration,
    /// The longest silence within the reply's body, and while a body is sent. A route may say another: `timeouts` there.
    pub idle: Duration,
    /// From the first contact to the end of the reply, retries included. Absent: a long download may take its time.
    pub total: Option<Duration>,
}

/// How targets are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The path of a GET request.
    pub path: String,
    /// The time between two checks of a target; a tenth more or less, so that they spread, and no shorter than 100ms.
    #[serde(default = "default_interval")]
    pub interval: Duration,
    /// For connection and reply together; at most the interval.
    #[serde(default = "default_check_timeout")]
    pub timeout: Duration,
    /// So many good checks in a row bring a target back.
    #[serde(default = "default_healthy")]
    #[schemars(range(min = 1))]
    pub healthy: u32,
    /// So many bad checks in a row take it out.
    #[serde(default = "default_unhealthy")]
    #[schemars(range(min = 1))]
    pub unhealthy: u32,
    /// Statuses of a good reply.
    #[serde(default = "default_statuses")]
    pub status: Statuses,
    /// The `Host` of the request. Absent: the target's own.
    #[serde(default)]
    pub host: Option<String>,
}

/// When a target that fails requests gets none for a while.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// So many requests in a row must fail: no connection, broken off, not in time, no HTTP.
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// Replies with these statuses count as failures, too.
    pub statuses: Vec<Statuses>,
    /// How long a target stays out, twice as long each time that it fails again at once.
    pub time: Duration,
    /// The longest that this becomes.
    pub max_time: Duration,
    /// The share of the targets that may be out. One of two always may, the only one never. `0%`: none.
    pub max_ejected: Share,
}

/// When a request is sent again.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// How often at most, beside the first time. 0: never.
    #[schemars(range(max = 5))]
    pub attempts: u32,
    /// After what: `connect` (no connection), `reset` (broken off before the reply's header was whole), `timeout`, or a
    /// status of the reply. Beside `connect` only requests that may be repeated are: an idempotent method, and a body
    /// that the gateway still has.
    pub on: Vec<RetryOn>,
    /// At most this share of the requests of the last seconds is sent again, or a few. Does not hold for `connect`.
    pub budget: Share,
    /// The pause before the first retry, twice as long before each further one.
    pub backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            response: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: None,
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            statuses: Vec::new(),
            time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
            max_ejected: Share::percent(50),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: vec![RetryOn::Connect, RetryOn::Reset],
            budget: Share::percent(20),
            backoff: Duration::from_millis(25),
        }
    }
}

fn default_queue_timeout() -> Duration {
    Duration::from_secs(1)
}

fn default_weight() -> u32 {
    1
}

fn default_slow_start() -> Duration {
    Duration::from_secs(10)
}

fn default_interval() -> Duration {
    Duration::from_secs(5)
}

fn default_check_timeout() -> Duration {
    Duration::from_secs(1)
}

fn default_healthy() -> u32 {
    2
}

fn default_unhealthy() -> u32 {
    3
}

fn default_statuses() -> Statuses {
    Statuses { first: 200, last: 299 }
}

struct BalanceVisitor;

impl<'de> Visitor<'de> for BalanceVisitor {
    type Value = Balance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`round_robin`, `least_requests`, `random`, or a mapping with `consistent_hash`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Balance, E> {
        Ok(match BalanceWord::deserialize(text.into_deserializer())? {
            BalanceWord::RoundRobin => Balance::RoundRobin,
            BalanceWord::LeastRequests => Balance::LeastRequests,
            BalanceWord::Random => Balance::Random,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Balance, A::Error> {
        let by = BalanceBy::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Balance::ConsistentHash(by.consistent_hash.key))
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BalanceVisitor)
    }
}

impl Serialize for Balance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::RoundRobin => BalanceWord::RoundRobin.serialize(serializer),
            Self::LeastRequests => BalanceWord::LeastRequests.serialize(serializer),
            Self::Random => BalanceWord::Random.serialize(serializer),
            Self::ConsistentHash(key) => {
                BalanceBy { consistent_hash: ConsistentHash { key: key.clone() } }.serialize(serializer)
            }
        }
    }
}

impl JsonSchema for Balance {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Balance".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (word, by) = (generator.subschema_for::<BalanceWord>(), generator.subschema_for::<BalanceBy>());
        json_schema!({ "anyOf": [word, by] })
    }
}
