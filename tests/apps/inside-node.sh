#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Node with timers, promises, worker threads and a child process.
. "$(dirname "$0")/inside.bash"
. "$T/node.bash"
start node "$T/job.js"
through node
comes_to_end node
good "node with workers, timers and children: $rounds checkpoints, two restores"
