// Command llm-worker runs one role of Parley; see llm-worker --help.
package main

import (
	"os"

	"github.com/parleybus/parley/internal/daemon"
	"github.com/parleybus/parley/internal/daemon/llmworker"
)

func main() { os.Exit(daemon.Main(llmworker.Service())) }
