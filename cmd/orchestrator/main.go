// Command orchestrator runs one role of Parley; see orchestrator --help.
package main

import (
	"os"

	"github.com/parleybus/parley/internal/daemon"
)

func main() { os.Exit(daemon.Main(daemon.OrchestratorService())) }
