package mcp_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// request is what a client asks of a server that is written by hand.
type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name   string `json:"name"`
		Cursor string `json:"cursor"`
	} `json:"params"`
}

// raw is a server of the protocol of 2025-11-25 that does what no SDK would.
func raw(kind string) error {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil
		}
		var r request
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return err
		}
		switch {
		case r.Method == "server/discover" && kind == "silent":
			// It ignores what it does not know.
		case r.Method == "initialize":
			reply(r, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"raw","version":"1"}}`)
		case r.Method == "tools/list":
			reply(r, rawList(kind, r))
		case r.Method == "tools/call":
			rawCall(r)
		case r.Method == "ping":
			reply(r, `{}`)
		case r.ID != nil:
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"unknown method %s"}}`+"\n", r.ID, r.Method)
		}
	}
}

func reply(r request, result string) {
	fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", r.ID, result)
}

func rawList(kind string, r request) string {
	one := func(name, schema string) string { return fmt.Sprintf(`{"name":%q,"inputSchema":%s}`, name, schema) }
	const object = `{"type":"object"}`
	list := []string{one("good", object), one("stick", object)}
	next := ""
	switch kind {
	case "schemas":
		deep := strings.Repeat(`{"type":"object","properties":{"a":`, 300) + `{"type":"objekt"}` + strings.Repeat("}}", 300)
		list = append(list, one("wrong", `{"type":"objekt"}`), one("text", `"none"`), one("elsewhere", `{"$ref":"https://example.com/schema.json"}`),
			one("huge", `{"type":"object","description":"`+strings.Repeat("x", 300<<10)+`"}`), one("deep", deep),
			one("recursive", `{"type":"object","properties":{"next":{"$ref":"#"}}}`), `null`,
			`{"name":"bad_output","inputSchema":{"type":"object"},"outputSchema":{"type":7}}`, one("", object))
	case "bottomless":
		list = append(list, one("deep", strings.Repeat(`{"not":`, 3000)+"{}"+strings.Repeat("}", 3000)))
	case "names":
		long := strings.Repeat("long", 30)
		list = append(list, one("files.read", object), one("files/read", object), one("files_read", object), one(long+"1", object), one(long+"2", object))
	case "endless":
		list = append(list, one("page"+r.Params.Cursor, object))
		next = r.Params.Cursor + "x"
	}
	return fmt.Sprintf(`{"tools":[%s],"nextCursor":%q}`, strings.Join(list, ","), next)
}

// rawCall answers a call of a tool by its name; some are not in the list, but
// tests put them there.
func rawCall(r request) {
	const ok = `{"content":[{"type":"text","text":"ok"}]}`
	switch os.Getenv("PARLEY_TEST_ANSWER") {
	case "twice":
		reply(r, ok)
		reply(r, `{"content":[{"type":"text","text":"again"}]}`)
	case "late progress":
		reply(r, ok)
		for token := range 3 {
			fmt.Printf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"%d","progress":1}}`+"\n", token)
		}
	case "invalid UTF-8":
		reply(r, "{\"content\":[{\"type\":\"text\",\"text\":\"caf\xe9\"}],\"structuredContent\":{\"a\":\"\xff\"}}")
	case "nothing":
		reply(r, `{"content":[]}`)
	case "no result":
		reply(r, `{"content":"`+strings.Repeat("y", 10)+`"}`)
	case "bottomless":
		reply(r, `{"content":[],"structuredContent":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`)
	case "unknown content":
		reply(r, `{"content":[{"type":"hologram"}]}`)
	case "silent failure":
		reply(r, `{"content":[],"isError":true}`)
	case "invalid params":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"city: unknown"}}`+"\n", r.ID)
	case "internal error":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"database is locked"}}`+"\n", r.ID)
	case "too long, id first":
		reply(r, `{"content":[{"type":"text","text":"`+strings.Repeat(`,\"id\":77},`, 7<<20)+`"}]}`)
	case "too long, id last":
		fmt.Printf(`{"result":{"content":[{"type":"text","text":"%s"}]},"jsonrpc":"2.0","id":%s}`+"\n", strings.Repeat(`z`, 65<<20), r.ID)
	case "garbage before":
		fmt.Println("\x00\x01garbage {")
		reply(r, ok)
	case "half and exit":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"te`, r.ID)
		os.Exit(9)
	case "stick":
		if !marked("stuck") {
			<-time.After(time.Hour) // and reads no more
		}
		reply(r, ok)
	default:
		reply(r, ok)
	}
}
