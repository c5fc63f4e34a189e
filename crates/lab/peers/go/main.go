// A worker of the lab that uses Go's net/http with a goroutine for each page. ../python/protocol.py
// describes the protocol. The flags define the work and its size. In the flags, x stands for the value of
// the experiment's variable.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

type parameters struct {
	X          float64 `json:"x"`
	Iterations int     `json:"iterations"`
}

type measurement struct {
	Answered int                `json:"answered"`
	Metrics  map[string]float64 `json:"metrics"`
}

var (
	version = flag.Bool("version", false, "print the version and exit")
	origin  = flag.String("origin", "", "the server's URL, to which paths are appended")
	work    = flag.String("work", "", "pages or requests")
	pages   = flag.String("pages", "x", "number of pages in a turn")
	limit   = flag.String("limit", "x", "maximum number of requests in flight")
	delay   = flag.Int("delay-ms", 0, "delay of a page in milliseconds")
	metrics = flag.String("metrics", "", "metrics to report, separated by commas")
)

func main() {
	flag.Parse()
	if *version {
		fmt.Println(runtime.Version())
		return
	}
	// One thread runs all goroutines, because the workers in Rust also run their tasks on one thread.
	runtime.GOMAXPROCS(1)
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	lines := bufio.NewScanner(os.Stdin)
	client := newClient()
	for lines.Scan() {
		var params parameters
		if err := json.Unmarshal(lines.Bytes(), &params); err != nil {
			return err
		}
		result, err := turn(client, params)
		if err != nil {
			return err
		}
		line, err := json.Marshal(result)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return lines.Err()
}

// newClient returns a client that keeps all idle connections. The default client keeps only two per host, so
// it would open new connections in each turn.
func newClient() *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 10000, IdleConnTimeout: 90 * time.Second}
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func turn(client *http.Client, params parameters) (measurement, error) {
	most, err := size(*limit, params.X)
	if err != nil {
		return measurement{}, err
	}
	var answered int
	var unit float64
	meter := newMeter()
	switch *work {
	case "pages":
		n, err := size(*pages, params.X)
		if err != nil {
			return measurement{}, err
		}
		for i := 0; i < params.Iterations; i++ {
			if err := each(n, most, func(number int) error { return getPage(client, number) }); err != nil {
				return measurement{}, err
			}
			answered += n
		}
		unit = 1e3 / float64(params.Iterations)
	case "requests":
		err := each(params.Iterations, most, func(int) error { return getTwelveBytes(client) })
		if err != nil {
			return measurement{}, err
		}
		answered = params.Iterations
		unit = 1e6 / float64(params.Iterations)
	default:
		return measurement{}, fmt.Errorf("unknown work %q", *work)
	}
	measured := meter.read(unit)
	if *work == "requests" {
		measured["rate"] = 1e6 / measured["wall"]
	}
	selected := map[string]float64{}
	for _, name := range strings.Split(*metrics, ",") {
		if value, ok := measured[name]; ok {
			selected[name] = value
		}
	}
	return measurement{answered, selected}, nil
}

func size(argument string, x float64) (int, error) {
	if argument == "x" {
		return int(x), nil
	}
	return strconv.Atoi(argument)
}

func getPage(client *http.Client, number int) error {
	url := fmt.Sprintf("%s/page/%d?delay_ms=%d", *origin, number, *delay)
	return get(client, url, pageText(number))
}

func getTwelveBytes(client *http.Client) error {
	return get(client, *origin+"/bytes/12", firstTwelve)
}

func get(client *http.Client, url, expected string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || string(body) != expected {
		return fmt.Errorf("%s: the response is wrong (status %d, %d bytes)", url, response.StatusCode, len(body))
	}
	return nil
}
