package main

import "fmt"

// The body of /bytes/12.
const firstTwelve = "\xaf\xcd\x1d\x7b\x39\xa8\x20\xe2\xf4\x65\xb9\xa1"

// pageText returns the body of a page.
func pageText(number int) string {
	return fmt.Sprintf(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Page %[1]d</title></head>
<body>
<h1>Page %[1]d</h1>
<p>This page is one of as many as there are numbers.</p>
<p><a href="/page/%[2]d">Page %[2]d</a></p>
</body>
</html>
`, number, number+1)
}
