// Command parley runs LLM conversations on a message bus, for people: ask,
// watch, replay, and everything in one process. See parley --help.
package main

import "os"

func main() { os.Exit(run(os.Args[1:])) }
