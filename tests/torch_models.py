"""Models of PyTorch of many kinds, each small: `MODELS` maps a name to a function that gives the
model and its inputs."""

import sys
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.networks import GPT, ResNet

MODELS = {}


def model(make):
    """Add what a function makes to the models."""
    MODELS[make.__name__] = make
    return make


def noise(*shape):
    return torch.randn(shape, dtype=torch.float64)


class Apply(nn.Module):
    """A module of parameters by name, and the function of them and of the inputs."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                setattr(self, name, part)
            else:
                setattr(self, name, nn.Parameter(part))

    def forward(self, *inputs):
        return self.function(self, *inputs)


# Convolutional


@model
def resnet_in_training():
    return ResNet((4, 6), 5).double(), [noise(3, 3, 16, 16)]


@model
def resnet_in_evaluation():
    made = ResNet((4, 6), 5).double()
    made(noise(4, 3, 16, 16))  # so that the statistics are some
    return made.eval(), [noise(2, 3, 16, 16)]


@model
def resnet_18():
    return ResNet().double(), [noise(2, 3, 32, 32)]


@model
def u_net():
    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
            self.up = nn.ConvTranspose2d(6, 4, 2, 2)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x):
            a = F.relu(self.down1(x))
            b = F.leaky_relu(self.down2(F.avg_pool2d(a, 2)))
            return self.last(torch.cat([a, self.up(b)], dim=1))

    return UNet().double(), [noise(2, 1, 8, 8)]


@model
def group_and_layer_norm():
    made = nn.Sequential(
        nn.Conv1d(4, 6, 3), nn.GroupNorm(3, 6), nn.SiLU(), nn.Flatten(), nn.LayerNorm(36),
        nn.Linear(36, 4), nn.Softplus(), nn.InstanceNorm1d(2),
    )  # fmt: skip
    return made.double(), [noise(2, 4, 8)]


# Attention


@model
def gpt_fused():
    return GPT().double(), [torch.randint(0, 11, (2, 8))]


@model
def gpt_plain():
    return GPT(fused=False).double(), [torch.randint(0, 11, (2, 8))]


@model
def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2).double(), [noise(2, 5, 8)]


@model
def decoder_of_the_library():
    made = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    return made, [noise(2, 5, 8), noise(2, 3, 8)]


@model
def attention_with_weights():
    made = nn.MultiheadAttention(8, 2, batch_first=True).double()
    return Apply(lambda m, x, y: m.attend(x, y, y), attend=made), [noise(2, 5, 8), noise(2, 4, 8)]


# Recurrent


@model
def lstm():
    return nn.LSTM(3, 4, num_layers=2).double(), [noise(20, 2, 3)]


@model
def gru_both_ways():
    return nn.GRU(3, 4, bidirectional=True).double(), [noise(20, 2, 3)]


@model
def rnn_cell_in_a_loop():
    def run(m, x):
        h = torch.zeros(2, 4, dtype=x.dtype)
        for t in x:
            h = m.cell(t, h)
        return h

    return Apply(run, cell=nn.RNNCell(3, 4).double()), [noise(20, 2, 3)]


@model
def packed_sequences():
    def run(m, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, [5, 3], batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(m.lstm(packed)[0], batch_first=True)[0]

    return Apply(run, lstm=nn.LSTM(3, 4, batch_first=True).double()), [noise(2, 5, 3)]


# What PyTorch lets one do


@model
def dropout():
    made = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3), nn.AlphaDropout(0.3))
    return made.double(), [noise(5, 6)]


@model
def randomised_relu():
    return nn.Sequential(nn.Linear(4, 6), nn.RReLU()).double(), [noise(3, 4)]


@model
def in_place():
    def run(m, x):
        h = x * m.w
        h.mul_(2).add_(x)
        h[1] = h[0] * 3
        h[:, 2].sub_(m.w[0, 1])
        h.clamp_(min=-1).exp_()
        return h.t().contiguous().view(-1)

    return Apply(run, w=noise(3, 4)), [noise(3, 4)]


@model
def input_overwritten():
    return Apply(lambda m, x: x.mul_(m.w).relu_() + x, w=noise(3)), [noise(2, 3)]


@model
def output_filled_in():
    def run(m, x):
        out = torch.zeros(4, 3, dtype=x.dtype)
        for i, row in enumerate(x):
            out[i] = m.w @ row
            out[i + 1] += row.sum()
        return out.sin()

    return Apply(run, w=noise(3, 3)), [noise(3, 3)]


@model
def constant_overwritten():
    """By ops that take all of it, so that it has a gradient from then on."""

    def run(m, x):
        rows, found = torch.tensor([0, 2, 0]), []
        for write in (
            lambda y: y.index_put_((rows,), x, accumulate=True),
            lambda y: y.index_add_(0, rows, x * m.w),
            lambda y: y.index_copy_(0, torch.tensor([0, 1, 4]), x),
            lambda y: y.masked_fill_(x[:, :1].repeat(2, 1)[:5] > 0, 2.0).mul_(m.w[0]),
            lambda y: y[:3].copy_(x).fill_diagonal_(0),
            lambda y: y.addcmul_(x[0], m.w[1]),
        ):
            y = torch.ones(5, 3, dtype=x.dtype)
            write(y)
            found.append(y * y)
        return found

    return Apply(run, w=noise(3, 3)), [noise(3, 3)]


@model
def views():
    def run(m, x):
        h = (x @ m.w).view(2, 2, 3).permute(2, 0, 1)
        a, b, c = h.unbind(0)
        d = torch.as_strided(m.w, (2, 2), (1, 1)).diagonal()
        return a.expand(3, 2, 2).reshape(6, 2) * d, b.flip(0).narrow(1, 0, 1), c.squeeze().T

    return Apply(run, w=noise(4, 3)), [noise(4, 4)]


@model
def view_of_what_is_overwritten():
    def run(m, x):
        h = x * m.w
        early = h.view(-1)[2:]
        before = early.exp()
        h += 1
        return early * 2 + before

    return Apply(run, w=noise(2, 3)), [noise(2, 3)]


@model
def choices():
    def run(m, x):
        h = torch.where(x > 0, x * m.w, m.v)
        h = h + torch.maximum(x, m.w) + torch.minimum(x, m.v).abs()
        return h.masked_fill(h > 1, 0.5), h[x > 0], x.clamp(-0.5, 0.5) * (x > m.w)

    return Apply(run, w=noise(5), v=noise(5)), [noise(4, 5)]


@model
def indices():
    def run(m, x):
        i, j = torch.tensor([0, 2, 2]), torch.tensor([[1, 0], [2, 2], [0, 1], [1, 1]])
        h = x[i] * m.w[1:4, None].mean() + x[0, ::2].sum()
        g = torch.gather(x, 1, j) + torch.take_along_dim(x, j, 1)
        s = torch.zeros(4, 3, dtype=x.dtype).scatter_add(1, j, g * m.w[:4, None])
        return h, s, x.index_select(0, i).index_add(0, i, h), torch.index_put(x, (i,), h)

    return Apply(run, w=noise(5)), [noise(4, 3)]


@model
def sorted_and_summed():
    def run(m, x):
        values, order = (x * m.w).sort(dim=1)
        top, _ = values.cumsum(1).topk(2)
        return top, values.cumprod(1), x.median(1).values, x.logsumexp(0), order.double() * x

    return Apply(run, w=noise(5)), [noise(4, 5)]


@model
def linear_algebra():
    def run(m, x):
        a = x @ x.T + 3 * torch.eye(4, dtype=x.dtype)
        values, vectors = torch.linalg.eigh(a)
        chol = torch.linalg.cholesky(a)
        solved = torch.linalg.solve(a, m.w)
        return values, vectors.abs(), chol, solved, torch.einsum("ij,jk,k->i", a, m.w, m.w[0])

    return Apply(run, w=noise(4, 4)), [noise(4, 4)]


@model
def losses():
    def run(m, x, labels):
        logits = x @ m.w
        nll = F.cross_entropy(logits, labels, label_smoothing=0.1)
        return nll + F.mse_loss(logits, logits.detach() * 2) + F.huber_loss(logits, x[:, :3])

    return Apply(run, w=noise(4, 3)), [noise(5, 4), torch.randint(0, 3, (5,))]


Pair = namedtuple("Pair", "first second")


@dataclass
class Output:
    logits: torch.Tensor
    hidden: list
    name: str


@model
def nested_inputs_and_outputs():
    def run(m, batch, pair):
        h = batch["x"] * m.w + pair[0] - batch["more"][0]
        return {"h": h, "pair": Pair(h * 2, [pair[1].float(), 3]), "all": Output(h.exp(), [h], "n")}

    inputs = [{"x": noise(3), "more": [noise(3)]}, (noise(3), torch.tensor([True, False]))]
    return Apply(run, w=noise(3)), inputs


@model
def buffers_and_frozen():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", noise(3).abs())
            self.w, self.frozen = nn.Parameter(noise(3, 3)), nn.Linear(3, 3)
            self.unused = nn.Parameter(noise(2))
            self.frozen.requires_grad_(False)
            self.gain = nn.Parameter(noise())

        def forward(self, x):
            self.scale.mul_(0.9)
            return self.frozen(x @ self.w) / self.scale * self.gain + 2 * self.scale.clone()

    return Scaled().double(), [noise(2, 3)]


@model
def mixed_dtypes():
    def run(m, x, y):
        h = x.float() @ m.w.float()
        return h.double() * y + y, h.half().float(), (y * 3).long(), y.int() + 1

    return Apply(run, w=noise(3, 3)), [noise(2, 3), torch.arange(3.0)]


@model
def stopped():
    def run(m, x):
        h = x * m.w
        with torch.no_grad():
            scale = h.abs().max()
            with torch.enable_grad():
                inner = h.exp() * 0.5
        return h / scale + h.detach() * m.w + inner

    return Apply(run, w=noise(3)), [noise(2, 3)]


@model
def checkpointed():
    def run(m, x):
        for layer in m.layers:
            x = checkpoint(lambda h, f=layer: h + torch.tanh(f(h)), x, use_reentrant=False)
        return x

    layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)).double()
    return Apply(run, layers=layers), [noise(2, 4)]


class Lying(torch.autograd.Function):
    """Rounds, and says that it does not."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        return (x * scale).round(), x.sign()

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return 3 * g + h * x, None


@model
def lying_function():
    def run(m, x):
        a, b = Lying.apply(x * m.w, 4.0)
        return a * b

    return Apply(run, w=noise(3)), [noise(2, 3)]


@model
def clipping_function():
    class Clip(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return g.clamp_(-0.1, 0.1)

    return Apply(lambda m, x: Clip.apply(x @ m.w).tanh() + x, w=noise(3, 3)), [noise(2, 3)]


@model
def loop_that_depends_on_data():
    def run(m, x):
        steps = 0
        while x.norm() < 10 and steps < 30:
            x, steps = x + x @ m.w if x.sum() > 0 else x * 2 - m.w[0], steps + 1
        return x

    return Apply(run, w=noise(3, 3)), [noise(3)]


@model
def shared_and_called_twice():
    linear = nn.Linear(3, 3).double()
    return nn.Sequential(linear, nn.Tanh(), linear, nn.Sigmoid(), linear), [noise(2, 3)]


@model
def scalars():
    return Apply(lambda m, x: x**m.a * m.b - m.a / m.b, a=noise().abs(), b=noise()), [noise().abs()]


@model
def the_input_itself():
    return Apply(lambda m, x: (x, m.w, x * m.w), w=noise(3)), [noise(3)]


@model
def sparse_embedding():
    def run(m, words):
        return m.table(words).sum(1) + m.bag(words)

    table = nn.Embedding(7, 3, sparse=True).double()
    bag = nn.EmbeddingBag(7, 3, sparse=True).double()
    return Apply(run, table=table, bag=bag), [torch.tensor([[1, 2, 2], [6, 0, 1]])]


@model
def normed_weights():
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4).double())
    weight = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2).double())
    return nn.Sequential(spectral, nn.Tanh(), weight), [noise(2, 3)]


@model
def gradients_inside():
    """As a physics-informed network has it."""

    def run(m, x):
        y = torch.sin(x @ m.w).sum()
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        return slope.square() + x

    return Apply(run, w=noise(3, 2)), [noise(2, 3)]


@model
def functional_gradients():
    def run(m, x):
        slopes = torch.func.vmap(torch.func.grad(lambda row: (torch.tanh(row) * m.w).sum()))(x)
        return slopes * m.w

    return Apply(run, w=noise(3)), [noise(2, 3)]


@model
def cancelling():
    """Batch norm takes back the scale and the shift before it: their gradients are rounding."""

    def run(m, x):
        return m.norm(m.linear(x) * m.log_scale.exp() + m.shift)

    parts = {"norm": nn.BatchNorm1d(4).double(), "linear": nn.Linear(3, 4).double()}
    return Apply(run, **parts, log_scale=noise(), shift=noise(4)), [noise(16, 3)]


@model
def fourier_free_complex_free_signal():
    def run(m, x):
        frames = x.unfold(-1, 4, 2) * m.window
        return F.fold(frames.transpose(1, 2), (1, 8), (1, 4), stride=(1, 2)).logcumsumexp(-1)

    return Apply(run, window=noise(4)), [noise(2, 8)]
