"""The executor plugin `lamflow` for tests, which cannot wait as long as people can."""

import asyncio

import snakemake_executor_plugin_lamflow as lamflow
from snakemake_executor_plugin_lamflow import ExecutorSettings, common_settings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


class Executor(lamflow.Executor):
    patience = 2
    pause = 1

    async def sleep(self):
        await asyncio.sleep(1)
