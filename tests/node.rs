//! A compute node as a coordinator sees it, over real connections in this process.

use ndarray::array;
use roundtable::data::{Dataset, encode};
use roundtable::model::{Mlp, Shape};
use roundtable::node::{Config, Node};
use roundtable::rpc::{self, Dialer};
use roundtable::types::Digest;
use roundtable::wire::blobs::{Blob, TBlobStoreSyncClient};
use roundtable::wire::compute_node::{ComputeNodeSyncClient, TComputeNodeSyncClient, Task, TaskOutcome};

#[test]
fn weights_of_rounds_long_ago_are_not_kept() {
    let listener = rpc::bind("127.0.0.1", 0).expect("a free port");
    let node = Node::start(listener, Config::default()).expect("a node");
    let dialer = Dialer::default();
    let mut client = dialer.dial(&node.address().into()).expect("a connection").client(ComputeNodeSyncClient::new);
    let data = Dataset::new(array![[0.0, 1.0], [1.0, 0.0]], vec![0, 1], 2).expect("a data set");
    let shard = encode(&data);
    let shard_digest = Digest::of(&shard);
    rpc::put_blob(&mut client, &shard_digest, &shard, &mut |_| ()).expect("it is taken");
    let weights: Vec<Vec<u8>> = (0..40)
        .map(|seed| Mlp::init(&Shape::new([2, 3, 2]).expect("a shape"), seed).to_safetensors(None))
        .collect();
    let digests: Vec<String> = weights.iter().map(|bytes| Digest::of(bytes).to_string()).collect();
    for (bytes, digest) in weights.iter().zip(&digests) {
        let task = Task {
            label: "test".to_owned(),
            kind: "train".to_owned(),
            parameters: r#"{"epochs": 1, "eta": 0.1, "early_stop": 0.2}"#.to_owned(),
            inputs: vec![shard_digest.to_string(), digest.clone()],
            scheduling_policy: 1,
            attached: vec![Blob { digest: digest.clone(), bytes: bytes.clone() }],
            cluster: None,
            epoch: None,
            coordinator: None,
            prefetch: None,
        };
        let answer = client.call(|c| c.run_task(task)).expect("an answer");
        assert_eq!(answer.outcome, TaskOutcome::DONE, "{}", answer.reason);
    }
    let all = [digests.clone(), vec![shard_digest.to_string()]].concat();
    let missing = client.call(|c| c.missing_blobs(all)).expect("an answer");
    assert_eq!(missing, digests[..24], "the newest 16 are here, and the data");
}
