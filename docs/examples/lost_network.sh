# SERVICE is where the service is, TOKEN is yours.
again="--silent --show-error --fail --retry 8 --retry-all-errors"
as_me="Authorization: Bearer $TOKEN"
job="$SERVICE/v1/jobs/photo-7" # an id of your own: known before the first answer

# Submit. Whatever became of it, it may be sent again: by curl, by you, by another phone.
curl $again -X PUT "$job" -H "$as_me" -H "Content-Type: application/json" \
    -d '{"model": "caption", "input": {"image": "YSBwaWN0dXJl", "lang": "fr"}}' -o submitted.json

# The network was gone for an hour: wait for the job (again, if it takes longer), then take its result.
curl $again "$job?wait=60" -H "$as_me" -o job.json
curl $again "$job/result" -H "$as_me"
