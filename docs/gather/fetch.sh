exec inflight gather --input urls.txt --journal journal.jsonl --polite --fail-status \
    -H "Authorization: Bearer $TOKEN" --user-agent 'catalog-crawler/1.0' \
    --output pages --names '{host}/{path}.{ext}' --format jsonl "$@" > records.jsonl
