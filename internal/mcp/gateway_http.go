package mcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Path is where [Gateway.ListenAndServe] serves MCP.
const Path = "/mcp"

const (
	// headerTimeout is how long a client may take to send the header of a request.
	headerTimeout = 10 * time.Second
	// closeTimeout is how long requests may continue after the end.
	closeTimeout = 2 * time.Second
)

// ListenAndServe serves clients over streamable HTTP at address until ctx ends, and
// then ends what they have open. listening is called with the address once they can
// connect.
func (g *Gateway) ListenAndServe(ctx context.Context, address string, listening func(net.Addr)) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for MCP clients: %w", err)
	}
	listening(listener.Addr())
	routes := http.NewServeMux()
	routes.Handle(Path, g.Handler())
	server := &http.Server{Handler: routes, ReadHeaderTimeout: headerTimeout, BaseContext: func(net.Listener) context.Context { return ctx }}
	all := new(errgroup.Group)
	all.Go(func() error { return g.Run(ctx) })
	all.Go(func() error {
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if err := server.Shutdown(closing); err != nil {
			return server.Close() // a client keeps its stream open
		}
		return nil
	})
	all.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve MCP clients: %w", err)
		}
		return nil
	})
	return all.Wait()
}
