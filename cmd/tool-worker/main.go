// Command tool-worker runs one role of Parley; see tool-worker --help.
package main

import (
	"os"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/toolworker"
)

func main() { os.Exit(daemon.Main(toolworker.Service())) }
