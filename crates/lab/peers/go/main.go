// Go's net/http, a goroutine for each page, as a worker of the lab. The lines it reads and writes are
// described in ../python/protocol.py; the work and its size are on the command line, where x stands for
// the variable's value.
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

type ask struct {
	X          float64 `json:"x"`
	Iterations int     `json:"iterations"`
}

type answer struct {
	Answered int                `json:"answered"`
	Metrics  map[string]float64 `json:"metrics"`
}

var (
	version = flag.Bool("version", false, "say what it is, and end")
	origin  = flag.String("origin", "", "the URL before every path")
	work    = flag.String("work", "", "pages or requests")
	pages   = flag.String("pages", "x", "how many in a turn")
	limit   = flag.String("limit", "x", "how many at once")
	delay   = flag.Int("delay-ms", 0, "what a page takes")
	metrics = flag.String("metrics", "", "which to tell, with commas between")
)

func main() {
	flag.Parse()
	if *version {
		fmt.Println(runtime.Version())
		return
	}
	// One thread runs goroutines, as one worker thread runs our tasks.
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
		var asked ask
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		told, err := turn(client, asked)
		if err != nil {
			return err
		}
		line, err := json.Marshal(told)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return lines.Err()
}

// The stock client keeps two idle connections for a host and would open the others anew each turn.
func newClient() *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 10000, IdleConnTimeout: 90 * time.Second}
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func turn(client *http.Client, asked ask) (answer, error) {
	most, err := size(*limit, asked.X)
	if err != nil {
		return answer{}, err
	}
	var answered int
	var unit float64
	meter := newMeter()
	switch *work {
	case "pages":
		n, err := size(*pages, asked.X)
		if err != nil {
			return answer{}, err
		}
		for i := 0; i < asked.Iterations; i++ {
			if err := each(n, most, func(number int) error { return page(client, number) }); err != nil {
				return answer{}, err
			}
			answered += n
		}
		unit = 1e3 / float64(asked.Iterations)
	case "requests":
		err := each(asked.Iterations, most, func(int) error { return twelve(client) })
		if err != nil {
			return answer{}, err
		}
		answered = asked.Iterations
		unit = 1e6 / float64(asked.Iterations)
	default:
		return answer{}, fmt.Errorf("there is no work %q", *work)
	}
	seen := meter.read(unit)
	if *work == "requests" {
		seen["rate"] = 1e6 / seen["wall"]
	}
	told := map[string]float64{}
	for _, name := range strings.Split(*metrics, ",") {
		if value, known := seen[name]; known {
			told[name] = value
		}
	}
	return answer{answered, told}, nil
}

func size(given string, x float64) (int, error) {
	if given == "x" {
		return int(x), nil
	}
	return strconv.Atoi(given)
}

func page(client *http.Client, number int) error {
	url := fmt.Sprintf("%s/page/%d?delay_ms=%d", *origin, number, *delay)
	return get(client, url, pageText(number))
}

func twelve(client *http.Client) error {
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
		return fmt.Errorf("%s was answered %d with %d bytes that are not its own", url, response.StatusCode, len(body))
	}
	return nil
}
