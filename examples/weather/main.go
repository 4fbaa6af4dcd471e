// Command weather serves one tool, get_weather, to the models of a Parley
// deployment: run `go run ./examples/weather` while `parley up` runs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/parleybus/parley/tool"
)

type weather struct {
	Sky     string `json:"sky"`
	Celsius int    `json:"celsius"`
}

func getWeather(ctx context.Context, in struct {
	City string `json:"city" jsonschema:"name of a city, such as Oslo"`
}) (weather, error) {
	cities := map[string]weather{"oslo": {"snow", -3}, "lagos": {"sun", 31}, "lima": {"fog", 17}}
	tool.Progress(ctx, "looking for %s", in.City)
	if w, ok := cities[strings.ToLower(in.City)]; ok {
		return w, nil
	}
	return weather{}, tool.Fail("the weather of %q is not known here: ask for Oslo, Lagos or Lima", in.City)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := tool.Serve(ctx, "", tool.Func("get_weather", "Current weather in a city", getWeather, tool.Pure())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
