"""The front door: the `bench` command, one module for each verb."""
