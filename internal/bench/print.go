package bench

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/parleybus/parley/internal/bench/wire"
)

// The output is for people; a write error shows at the last write.

func (r *Report) printHead(w io.Writer) {
	load := ""
	if r.LoadBefore != "" {
		load = ", load " + r.LoadBefore
	}
	form := `One process: server (one shard, files, S2, RePublish,
HISTORY), orchestrator, llm-worker, a viewer per conversation.`
	if r.Processes {
		form = `Three processes: the server (one shard, files,
S2, RePublish, HISTORY); orchestrator and llm-worker, or raw publishers; viewers.
µs/ev is for an event that is delivered to a viewer, in all three and in each.`
	}
	peer := ""
	if r.Peer != "" {
		peer = fmt.Sprintf("  %-10s  the same by hand, with a server of its own\n", r.Peer)
	}
	fmt.Fprintf(w, `parley bench: %s, %d cores%s. %s The share of the
machine that other programs used is in the column "others": the higher, the less
reliable the figures.

  parley      provider's byte (SSE chunk handed to the decoder) to viewer's callback (bus.Attach)
  raw         the same events on the same streams, one JetStream message each, published
              asynchronously (window %d), to a subscriber of the republished subject:
              no provider to decode, no order, no fence, no reader of the log
  raw+reader  the same with one consumer that follows the log, as an orchestrator does
%s
conv.   rate/s  path        events/s   p50 ms   p99 ms   max ms  ev/msg  µs/ev   cpu  others
`, r.Go, r.CPUs, load, form, wire.Window, peer)
}

func (res Result) print(w io.Writer) {
	target := "max"
	if res.TargetRate > 0 {
		target = strconv.FormatFloat(res.TargetRate, 'f', 0, 64)
	}
	others := "-"
	if res.OthersShare >= 0 {
		others = fmt.Sprintf("%.0f%%", 100*res.OthersShare)
	}
	fmt.Fprintf(w, "%5d  %7s  %-10s  %8.0f  %7.2f  %7.2f  %7.1f  %6.1f  %5.1f  %3.0f%%  %6s\n", res.Conversations, target, res.Path,
		res.EventsPerSecond, res.P50MS, res.P99MS, res.MaxMS, res.EventsPerMessage, res.CPUMicros, 100*res.CPUShare, others)
	if len(res.CPUOf) == 3 {
		fmt.Fprintf(w, "%27s %d viewers each; server %.1f, publishing %.1f, viewers %.1f µs; %.1f KB for a viewer, %.1f after the row\n", "",
			res.Viewers, res.CPUOf[0], res.CPUOf[1], res.CPUOf[2], res.ViewerKB, res.ViewerKBAfter)
	}
}

func (c CatchUp) print(w io.Writer) {
	fmt.Fprintf(w, "catch up %7d events  %-10s  p50 %7.2f ms, max %7.2f\n", c.Events, c.Path, c.P50MS, c.MaxMS)
}

func (r *Report) printRest(w io.Writer) {
	fmt.Fprintf(w, "\nWithout a rate limit, at most %d events (%d per conversation) in flight:\n", maxUnderWay, maxUnderWayEach)
	for _, ratio := range r.Ratios {
		fmt.Fprintf(w, "  %d conversations: parley/raw %.2f, parley/raw+reader %.2f\n", ratio.Conversations, ratio.OverRaw, ratio.OverReader)
	}
	r.Decisions.print(w)
	r.BusyDecisions.print(w)
	fmt.Fprintf(w, "\nProcessor time of each part alone, µs per event, with 1 event and with %d in a frame:\n", r.EventsInFrame)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var sum Part
	for _, p := range r.Parts {
		if p.Within {
			fmt.Fprintf(t, "  sum\t%.2f\t%.2f\tthe whole is in the column µs/ev\n", sum.Alone, sum.Frame)
		}
		fmt.Fprintf(t, "  %s\t%.2f\t%.2f\t%s\n", p.Name, p.Alone, p.Frame, p.How)
		sum.Alone, sum.Frame = sum.Alone+p.Alone, sum.Frame+p.Frame
	}
	_ = t.Flush() // as above
	r.printBudgets(w)
	fmt.Fprintf(w, "\n%.0f s", r.Seconds)
	if r.OthersShare >= 0 {
		fmt.Fprintf(w, "; other programs used %.0f%% of the machine", 100*r.OthersShare)
	}
	fmt.Fprintln(w, ".")
}

// print prints decisions that were measured; nil are not.
func (d *Decisions) print(w io.Writer) {
	if d == nil {
		return
	}
	beside := ""
	if d.Beside > 0 {
		beside = fmt.Sprintf(" beside %d conversations with %d events/s", busyConversations, d.Beside)
	}
	fmt.Fprintf(w, `
Decisions, %d turns one after the other%s, by the server's times:
  GenerationEnded stored to tool job stored      p50 %.2f  p99 %.2f  max %.2f ms (%d calls)
  UserMessage stored to GenerationStarted stored p50 %.2f  p99 %.2f  max %.2f ms
`, d.Turns, beside, d.CallP50MS, d.CallP99MS, d.CallMaxMS, d.Calls, d.AnswerP50MS, d.AnswerP99MS, d.AnswerMaxMS)
}

// printBudgets prints whether the measured values are within the design's
// budgets.
func (r *Report) printBudgets(w io.Writer) {
	fmt.Fprint(w, "\nBudgets, for two cores that do nothing else:\n")
	line := func(met bool, format string, args ...any) {
		verdict := "missed"
		if met {
			verdict = "met"
		}
		fmt.Fprintf(w, "  %-6s  %s\n", verdict, fmt.Sprintf(format, args...))
	}
	for _, row := range r.Rows {
		if row.Path != pathParley {
			continue
		}
		if row.TargetRate == 5000 {
			line(row.P50MS < 0.3 && row.P99MS < 1.5, "%d conversations, 5,000 events/s: p50 %.2f of 0.3 ms, p99 %.2f of 1.5 ms", row.Conversations, row.P50MS, row.P99MS)
		}
		if row.TargetRate == 0 && row.Conversations == 1000 {
			line(row.EventsPerSecond >= 100_000, "1000 conversations: %.0f of 100,000 events/s", row.EventsPerSecond)
		}
	}
	for _, ratio := range r.Ratios {
		line(ratio.OverRaw >= 1, "%d conversations: %.2f of 1 time the events that raw publishing sustains", ratio.Conversations, ratio.OverRaw)
	}
	if d := r.Decisions; d != nil {
		line(d.CallP50MS < 0.5, "decision to queued job: p50 %.2f of 0.5 ms", d.CallP50MS)
	}
	if d := r.BusyDecisions; d != nil {
		line(d.CallP50MS < 0.5 && d.CallP99MS < 3, "decision to queued job beside %d events/s: p50 %.2f of 0.5 ms, p99 %.2f of 3 ms", d.Beside, d.CallP50MS, d.CallP99MS)
	}
}
