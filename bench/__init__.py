"""The front door: the `bench` command, one module for each verb."""

from bench.names import refuse_others

refuse_others()
