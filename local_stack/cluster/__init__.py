"""`make run CLUSTER=1`: the stack as it is on many machines, on this one."""
