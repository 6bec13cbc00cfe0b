//! Many learners that give changes to a coordinator over HTTP, to see how long each waits and that each counts once:
//!
//! ```sh
//! roundtable coordinator 9095 2 --http 127.0.0.1:8080 &
//! cargo run --release --example learners -- 127.0.0.1:9095 127.0.0.1:8080 [LEARNERS] [UPDATES A SECOND] [SECONDS]
//! ```
//!
//! It starts a job whose only learners they are. Every learner has a connection of its own, asks for the newest version and
//! sends a change that adds 1 to each bias, so that at the end the biases say how many changes are in the model. One change
//! in 50 is sent twice, as if its answer had been lost.

use hdrhistogram::Histogram;
use roundtable::model::{Model, OptimizerSettings, Schedule};
use roundtable::rpc::Dialer;
use roundtable::wire::coordinator::{CoordinatorSyncClient, JobRequest, TCoordinatorSyncClient};
use serde_json::{Value, json};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thrift::OrderedFloat;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

type Failed = Box<dyn Error + Send + Sync>;

/// A connection that is kept.
struct Caller {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

impl Caller {
    async fn connect(host: SocketAddr) -> Result<Self, Failed> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>), Failed> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (mut status, mut length) = (0, 0);
        for line in 0.. {
            let mut text = String::new();
            if self.stream.read_line(&mut text).await? == 0 {
                return Err("hung up".into());
            }
            if line == 0 {
                status = text.split(' ').nth(1).unwrap_or_default().parse()?;
            } else if text == "\r\n" {
                break;
            } else if let Some(told) = text.to_ascii_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status, body))
    }

    async fn json(&mut self, method: &str, path: &str, body: &str) -> Result<Value, Failed> {
        let (status, body) = self.ask(method, path, body).await?;
        if status != 200 {
            return Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

/// Starts a job of the shape that the letters have, whose learners are outside.
fn submit(coordinator: SocketAddr) -> Result<String, Failed> {
    let parameters = json!({
        "hidden": [24],
        "eta": 0.05,
        "seed": 1,
        "source": {"updates": {"updates": 1_000_000_000}},
        "method": {
            "batch_size": 32, "shuffle": false, "schedule": Schedule::named("constant"),
            "optimizer": OptimizerSettings::named("sgd"), "weight_decay": 0, "clip_norm": null, "dropout": 0,
            "label_smoothing": 0, "proximal": 0,
        },
    });
    let request = JobRequest {
        kind: "train-async".to_owned(),
        parameters: parameters.to_string(),
        dataset: "letters".to_owned(),
        shards: Vec::new(),
        validation: None,
        classes: Vec::new(),
        give_up_after_s: OrderedFloat(0.0),
        values: None,
        request_id: None,
        weight: None,
        priority: None,
    };
    let mut client = Dialer::default().dial(&coordinator.into())?.client(CoordinatorSyncClient::new);
    Ok(client.call(|client| client.submit(request))?)
}

/// What one learner has seen.
struct Seen {
    times: Histogram<u64>,
    versions: Vec<u64>,
}

/// One learner from `begin` to `end`, every `every`.
async fn learn(
    (host, place): (SocketAddr, usize),
    (begin, end, every): (Instant, Instant, Duration),
    (job, parameters): (Arc<String>, Arc<String>),
) -> Result<Seen, Failed> {
    let mut caller = Caller::connect(host).await?;
    let mut seen = Seen { times: Histogram::new(3)?, versions: Vec::new() };
    let (mut at, mut count) = (begin, 0);
    while at < end {
        sleep_until(at).await;
        let newest = caller.json("GET", &format!("/?job={job}"), "").await?;
        let body = format!(
            "{{\"id\":\"{place}/{count}\",\"update\":{},\"rows\":32,\"parameters\":{parameters}}}",
            newest["update"]
        );
        let path = format!("/?job={job}");
        let sent = Instant::now();
        let answer = caller.json("POST", &path, &body).await?;
        seen.times.record(sent.elapsed().as_micros() as u64)?;
        if (place + count) % 50 == 0 {
            assert_eq!(caller.json("POST", &path, &body).await?, answer, "sent twice");
        }
        seen.versions.push(answer["update"].as_u64().ok_or("no number")?);
        (at, count) = (at + every, count + 1);
    }
    Ok(seen)
}

async fn run(coordinator: SocketAddr, host: SocketAddr, numbers: [u64; 3]) -> Result<(), Failed> {
    let [learners, rate, seconds] = numbers;
    let job = Arc::new(tokio::task::spawn_blocking(move || submit(coordinator)).await??);
    let mut caller = Caller::connect(host).await?;
    while caller.ask("GET", &format!("/?job={job}"), "").await?.0 != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let tensor = |(place, size): (usize, usize)| vec![(place % 2) as f32; size];
    let sizes = [24 * 16, 24, 26 * 24, 26];
    let parameters: Vec<Vec<f32>> = sizes.into_iter().enumerate().map(tensor).collect();
    let parameters = Arc::new(serde_json::to_string(&parameters)?);
    let every = Duration::from_secs_f64(learners as f64 / rate as f64);
    let begin = Instant::now() + Duration::from_secs(2);
    let end = begin + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for place in 0..learners {
        let first = begin + every.mul_f64(place as f64 / learners as f64);
        let order = (job.clone(), parameters.clone());
        tasks.push(tokio::spawn(learn((host, place as usize), (first, end, every), order)));
    }
    let (mut times, mut versions) = (Histogram::<u64>::new(3)?, Vec::new());
    for task in tasks {
        let seen = task.await??;
        times.add(seen.times)?;
        versions.extend(seen.versions);
    }
    let took = begin.elapsed().as_secs_f64();
    versions.sort_unstable();
    let once = versions == (1..=versions.len() as u64).collect::<Vec<_>>();
    let mut biases = Vec::new();
    // What is shown is a moment behind what is answered.
    for _ in 0..100 {
        let (_, file) = caller.ask("GET", &format!("/latest.safetensors?job={job}"), "").await?;
        let model = Model::from_safetensors(&file)?;
        biases = model.weights.layers().iter().flat_map(|layer| layer.row(0).to_vec()).collect();
        if biases.iter().all(|&bias| bias == versions.len() as f32) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let in_it = biases.iter().all(|&bias| bias == versions.len() as f32);
    let ms = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{}",
        json!({
            "learners": learners, "updates": versions.len(), "updates_per_s": versions.len() as f64 / took,
            "p50_ms": ms(0.5), "p90_ms": ms(0.9), "p99_ms": ms(0.99), "max_ms": times.max() as f64 / 1e3,
            "each_has_a_version_of_its_own": once, "all_in_the_model_once": in_it,
        })
    );
    if once && in_it { Ok(()) } else { Err(format!("lost or doubled: biases {:?}", biases.first()).into()) }
}

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [coordinator, host, numbers @ ..] = args.as_slice() else {
        return Err("learners COORDINATOR HTTP [LEARNERS] [UPDATES A SECOND] [SECONDS]".into());
    };
    let number = |place: usize, usual: u64| numbers.get(place).map_or(Ok(usual), |text| text.parse());
    let numbers = [number(0, 1000)?.max(1), number(1, 200)?.max(1), number(2, 30)?.max(1)];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(coordinator.parse()?, host.parse()?, numbers))
}
