"""Letters to 5% error in Flower: a server and two clients with half of the rows each, FedAvg after each epoch, with the
settings of torch_pair.py's `averaging` (clients keep their optimiser's state, as there). It runs all rounds, and the time
is that of the first round at the target. See flower_round.py for which of Flower's ways this is."""

import flower_round  # first: it settles Flower's telemetry

import flwr
import torch

import work
from torch_adam import Autograd, network
from torch_learning import learn, letters
from torch_pair import AVERAGING

SIZES = [work.FEATURES, 256, work.CLASSES]


class Client(flwr.client.NumPyClient):
    def __init__(self, number):
        X, y = letters()[0]
        self.data = X[number :: flower_round.CLIENTS], y[number :: flower_round.CLIENTS]
        self.model = network(SIZES)
        adam = torch.optim.Adam(self.model.parameters(), lr=AVERAGING["peak"], fused=True)
        torch.manual_seed(1000 + number)
        self.epochs = learn(Autograd(self.model, adam), self.data, **AVERAGING)
        next(self.epochs)

    def get_parameters(self, config):
        return flower_round.arrays(network(SIZES))

    def fit(self, parameters, config):
        flower_round.load(self.model, parameters)
        next(self.epochs)
        return flower_round.arrays(self.model), len(self.data[1]), {}


def server(port, began):
    ends = flower_round.serve(port, network(SIZES), letters()[1], AVERAGING["epochs"])
    curve = work.Curve()
    for end, error in ends[1:]:
        if curve.add(error, end - ends[0][0]):
            break
    curve.tell(f"flwr {flwr.__version__}, torch {torch.__version__}", whole_s=ends[len(curve.points)][0] - began)


if __name__ == "__main__":
    flower_round.together(__file__, Client, server)
