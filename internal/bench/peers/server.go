package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleybus/parley/internal/bench"
)

// startTimeout bounds the start of redis-server.
const startTimeout = 10 * time.Second

// serve starts redis-server with an append-only file that is synchronised each second.
func serve(ctx context.Context, dir string) (*bench.PeerServer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	url := net.JoinHostPort("127.0.0.1", port)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", "everysec", "--loglevel", "warning", "--maxclients", "30000")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server, which Debian has as the package redis-server: %w", err)
	}
	server := &bench.PeerServer{
		URL: url,
		CPU: func() (time.Duration, error) { return cpuOf(cmd.Process.Pid) },
		Stop: func() error {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				return err
			}
			return cmd.Wait()
		},
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	probe := redis.NewClient(&redis.Options{Addr: url, MaxRetries: -1})
	defer probe.Close()
	for probe.Ping(ctx).Err() != nil {
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("redis-server does not answer at %s: %w", url, context.Cause(ctx)), server.Stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return server, nil
}

// freePort returns a port of the loopback interface that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port for redis-server: %w", err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// cpuOf returns the processor time of another process, from Linux's /proc.
func cpuOf(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the processor time of redis-server: %w", err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // its name may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("the processor time of redis-server: /proc/%d/stat is %q", pid, raw)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100), errors.Join(err, err2)
}
