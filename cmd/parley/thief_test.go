package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// The secrets of the environment in which the attacked process starts.
const (
	stolenKey   = "sk-canary-8d1f6f20"
	stolenToken = "nats-canary-5a07c3"
)

// thief is a program that tries to get at another process: pid, data directory, NATS
// URL without a token, and the URL of its health endpoints. It prints what it could do, a
// line each. Without arguments it is a tool, and the process is its parent.
func thief() {
	pid, args := os.Getppid(), os.Args[1:]
	if len(args) > 0 {
		pid, _ = strconv.Atoi(args[0]) // the test gives a number
	}
	for _, pair := range os.Environ() {
		if strings.HasPrefix(pair, "NATS_") || strings.Contains(pair, "canary") {
			fmt.Println("has", pair)
		}
	}
	proc := fmt.Sprintf("/proc/%d/", pid)
	for _, name := range []string{"environ", "mem", "maps", "auxv", "stack"} {
		if f, err := os.Open(proc + name); err == nil {
			part, err := io.ReadAll(io.LimitReader(f, 1<<20))
			if err == nil || len(part) > 0 || name == "mem" {
				fmt.Printf("reads %s of the process, a key is in it: %t\n", name, strings.Contains(string(part), "canary"))
			}
			_ = f.Close() // it was only read
		}
	}
	if all, err := os.ReadDir(proc + "fd"); err == nil {
		fmt.Printf("sees %d open files of the process\n", len(all))
	}
	if err := attach(pid); err == nil {
		fmt.Println("traces the process")
	}
	if raw, err := os.ReadFile(proc + "cmdline"); err == nil && strings.Contains(string(raw), "canary") {
		fmt.Println("finds a key in the command line")
	}
	if len(args) > 0 {
		intrude(pid, args[1], args[2], args[3])
	}
}

// intrude tries what only another user must not be able to do.
func intrude(pid int, dir, url, health string) {
	if p, err := os.FindProcess(pid); err == nil && p.Signal(os.Interrupt) == nil {
		fmt.Println("stops the process")
	}
	for _, name := range []string{"", "server.json", "lock", "jetstream"} {
		if f, err := os.Open(filepath.Join(dir, name)); err == nil {
			fmt.Printf("opens %q of the data directory\n", name)
			_ = f.Close() // nothing is read
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "server.json.new"), nil, 0o600); err == nil {
		fmt.Println("writes into the data directory")
	}
	for _, option := range []nats.Option{nats.Name("thief"), nats.Token("guess"), nats.UserInfo("parley", "")} {
		nc, err := nats.Connect(url, option)
		if err != nil {
			continue
		}
		fmt.Println("connects to", url)
		if err := nc.Publish("conv.0.01a222b6-cd77-7a28-ab0f-16ca8f6ba5e8.in", []byte("{}")); err == nil && nc.Flush() == nil {
			fmt.Println("publishes")
		}
		nc.Close()
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/vars", "/"} {
		res, err := http.Get(health + path)
		if err != nil {
			fmt.Println("cannot ask", err)
			continue
		}
		raw, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // it was read
		if text := string(raw); err != nil || strings.Contains(text, "canary") || strings.Contains(text, dir) || strings.Contains(path, "debug") && res.StatusCode == http.StatusOK {
			fmt.Printf("%s tells %s %v\n", path, text, err)
		}
	}
}
