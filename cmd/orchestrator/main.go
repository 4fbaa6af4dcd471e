// Command orchestrator runs one role of Parley; see orchestrator --help.
package main

import (
	"os"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/orchestrator"
)

func main() { os.Exit(daemon.Main(orchestrator.Service())) }
