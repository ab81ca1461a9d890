"""Fit one mixture to a folder of Parquet files with many processes that share the files.

torchrun --nproc-per-node 2 examples/distributed_fit.py FOLDER --components 3 --save model.pth

With --checkpoint, a fit that is started again, for example after a crash, continues where it stopped. torchrun restarts
it automatically with --max-restarts.
"""

import argparse
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from tgmm import GaussianMixture
from tgmm.data import ParquetSource


def main() -> None:
    options = parse_arguments()
    use_gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if use_gpu else "gloo", timeout=timedelta(seconds=options.timeout))
    if use_gpu:
        torch.cuda.set_device(dist.get_node_local_rank())
    gmm = GaussianMixture(
        options.components,
        covariance_type=options.covariance_type,
        tol=options.tol,
        random_state=0,
        distributed=True,
        checkpoint=options.checkpoint,
    )
    gmm.fit(shard(options.folder), resume=options.checkpoint is not None)
    if dist.get_rank() == 0:
        print(
            f"{dist.get_world_size()} processes, {gmm.n_iter_} iterations, log-likelihood {gmm.lower_bound_:.6f} a row"
        )
        if options.save:
            gmm.save(options.save)
    dist.destroy_process_group()


def shard(folder: Path) -> ParquetSource | np.ndarray:
    """Every so many of the folder's files; a rank without any has no rows, of as many features as the others'."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"There are no .parquet files in {folder}.")
    own = files[dist.get_rank() :: dist.get_world_size()]
    return ParquetSource(own) if own else np.empty((0, len(ParquetSource(files).feature_names)))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--components", type=int, default=3, metavar="K")
    parser.add_argument("--covariance-type", default="full", metavar="TYPE")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="file that records the fit, to resume from")
    parser.add_argument("--save", type=Path, metavar="FILE", help="where to save the model")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="how long to wait for a rank")
    return parser.parse_args()


if __name__ == "__main__":
    main()
