# The commands of the project; `make help` lists them. Variables are given as NAME=value.

PYTHON ?= python3.11
VENV ?= .venv
REVIEW_VENV ?= $(or $(LABEL_STUDIO_VENV),.venv-review)
BIN := $(VENV)/bin
IN_STATE = $(BIN)/python -m pipelines.running.environment '$(STATE)'
INSTALLED := $(VENV)/.installed
UV ?= uv==0.13.9

# What a run reads and with which options, e.g. make run DATA=reviews.csv ARGS="--tune-trials 4"
DATA ?= sample
BASE_MODEL ?= minilm
ARGS ?=
# Columns that are not recognised by name, and classes other than negative, neutral and positive, e.g.
# COLUMNS="review_body=text sentiment=label" LABELS="bad=0 good=1". In the environment, COLUMNS is
# the width of the terminal: only a value from make's command line counts.
READING = $(if $(findstring command,$(origin COLUMNS)),$1columns='$(COLUMNS)') \
  $(if $(LABELS),$1labels='$(LABELS)')
unexport COLUMNS

# Where runs write: what outlives a run, and a folder for each run.
STATE ?= state
RUNS ?= runs
FOLDERS = --state '$(STATE)' --runs '$(RUNS)'

# Where `make submit` sends the pipeline: the endpoint of Kubeflow Pipelines, or the kubeconfig's;
# and the run's namespace, which is the profile's in multi-user Kubeflow.
KFP_ENDPOINT ?=
NAMESPACE ?=
EXPERIMENT ?= review-sentiment
PIPELINE ?= training
RUN_NAME ?= $(PIPELINE)

# Where `make images` puts the images; components/shared/machine/images.py reads the same variables.
IMAGE_REGISTRY ?= ghcr.io/review-sentiment
IMAGE_TAG ?= 0.1.0
IMAGE_BUILDER ?= $(firstword $(foreach tool,docker podman buildah,$(if $(shell $(tool) info >/dev/null 2>&1 && echo yes),$(tool))))
# Further arguments of its `build`, e.g. IMAGE_OPTIONS='--build-arg EXTRAS=minilm'
IMAGE_OPTIONS ?=
IMAGES := steps training predictor review

MODEL_NAME ?= review-sentiment
APPROVED_BY ?= $(shell id -un)
PORT ?= 8080
SITE_PORT ?= 8090
UI_PORT ?= 5000
REVIEW_PORT ?= 8181

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install run automl approve score serve site rollout ab-test traffic loop watch explain models cost verify ui lookup forget retain migrate-features monitor test test-all lint format compile images push-images \
        $(IMAGES:%=image-%) preflight submit \
        submit-rollout schedule schedule-monitoring bench bench-automl bench-training bench-data bench-features bench-monitoring \
        bench-distributed bench-batch bench-explanations bench-log bench-review bench-serving bench-understanding sql sql-ddl discover sample constraints clean

##@ On this machine

help: ## List the targets
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv installs the same pinned set in a fraction of the time, but reads none of pip's settings: index,
# find-links and certificate are handed over, or it would miss a CPU build of torch that pip is told of.
# $1 is the interpreter of a virtual environment, $2 what to install there.
, := ,
define INSTALL_INTO
@of_pip() { $(BIN)/python -m pip config get "$$1" 2>/dev/null || true; }; \
	if [ -x $(BIN)/uv ]; then \
	  export UV_DEFAULT_INDEX="$${PIP_INDEX_URL:-$$(of_pip global.index-url)}"; \
	  export UV_INDEX="$${PIP_EXTRA_INDEX_URL:-$$(of_pip global.extra-index-url)}"; \
	  export UV_FIND_LINKS="$${PIP_FIND_LINKS:-$$(of_pip global.find-links)}"; \
	  export SSL_CERT_FILE="$${PIP_CERT:-$${SSL_CERT_FILE:-$$(of_pip global.cert)}}"; \
	  for name in UV_DEFAULT_INDEX UV_INDEX UV_FIND_LINKS SSL_CERT_FILE; do \
	    [ -n "$$(printenv $$name)" ] || unset $$name; \
	  done; \
	  set -- $(BIN)/uv pip install --python $1 --index-strategy unsafe-best-match; \
	else \
	  set -- $1 -m pip install; \
	fi; \
	echo "installing some 200 packages with $$1"; \
	[ -t 2 ] || set -- "$$@" --quiet; \
	"$$@" $2
endef

install: $(INSTALLED) ## Make the virtual environment and install the pinned dependencies

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet '$(UV)' || echo 'uv is not to be had here; pip takes some minutes'
	$(call INSTALL_INTO,$(BIN)/python,--constraint constraints.txt --editable '.[local$(,)dev]')
	touch $@

run: $(INSTALLED) ## Run the training pipeline on this machine  [DATA= COLUMNS= LABELS= BASE_MODEL= STATE= RUNS= ARGS=]
	$(BIN)/python -m pipelines.running.run training --data-uri '$(DATA)' --base-model '$(BASE_MODEL)' \
	  --model-name '$(MODEL_NAME)' $(FOLDERS) $(call READING,--) $(ARGS)

automl: $(INSTALLED) ## Find the best model that a budget buys for a labelled table  [DATA= MINUTES=20 COLUMNS= LABELS= ARGS=]
	$(BIN)/python -m pipelines.running.run automl --data-uri '$(DATA)' --base-model '$(BASE_MODEL)' \
	  --max-seconds "$$(( $(or $(MINUTES),20) * 60 ))" \
	  --model-name '$(MODEL_NAME)' $(FOLDERS) $(call READING,--) $(ARGS)

approve: $(INSTALLED) ## Promote a version that waits for approval  VERSION=
	@test -n "$(VERSION)" || { echo 'error: say which: make approve VERSION=1' >&2; exit 2; }
	$(BIN)/python -m pipelines.running.run approval --version '$(VERSION)' \
	  --approved-by '$(APPROVED_BY)' --model-name '$(MODEL_NAME)' $(FOLDERS)

serve: $(INSTALLED) ## Serve the champion  [PORT=8080 ARGS="--features --grpc-port 8081"]
	$(BIN)/python -m pipelines.running.serve --model-name '$(MODEL_NAME)' --port '$(PORT)' --state '$(STATE)' $(ARGS)

site: $(INSTALLED) ## Serve with canaries, behind nginx, until stopped  [SITE_PORT=8090]
	$(IN_STATE) $(BIN)/python -m components.deployment.local.site --state '$(STATE)/site' \
	  --name '$(MODEL_NAME)' --port '$(SITE_PORT)' $(ARGS)

rollout: $(INSTALLED) ## Roll a version out on the site, step by step  [VERSION=champion ARGS=]
	$(BIN)/python -m pipelines.running.run rollout --version '$(or $(VERSION),champion)' \
	  --model-name '$(MODEL_NAME)' $(FOLDERS) $(ARGS)

ab-test: $(INSTALLED) ## Test a version against the one that serves  VERSION= [ARGS=]
	@test -n "$(VERSION)" || { echo 'error: say which: make ab-test VERSION=2' >&2; exit 2; }
	$(BIN)/python -m pipelines.running.run ab-test --version '$(VERSION)' \
	  --model-name '$(MODEL_NAME)' $(FOLDERS) $(ARGS)

# The reviews that the newest training was tested on, where nothing else is named.
traffic: REVIEWS ?= $(lastword $(sort $(wildcard $(RUNS)/*/evaluate-classifier/predictions)))
traffic: $(INSTALLED) ## Send reviews to the site at a rate  [REVIEWS= RATE=50 SITE_PORT=8090]
	@test -n "$(REVIEWS)" || { echo 'error: there is no run to take reviews from; name a Parquet file: make traffic REVIEWS=…' >&2; exit 2; }
	$(BIN)/python -m components.deployment.local.traffic --url 'http://127.0.0.1:$(SITE_PORT)' \
	  --model-name '$(MODEL_NAME)' --reviews '$(REVIEWS)' --rate '$(or $(RATE),50)' $(ARGS)

# As it was typed: a dollar sign and quotes of the review stay what they are.
EXPLAIN = $(BIN)/python -m pipelines.running.explain
explain: export EXPLAINED_TEXT := $(value TEXT)
explain: export EXPLAINED_TITLE := $(value TITLE)
explain: $(INSTALLED) ## Say why a version answers a review as it does  TEXT="…" [TITLE= VERSION=champion OUT=page.html]
	@$(EXPLAIN) --text="$$EXPLAINED_TEXT" --title="$$EXPLAINED_TITLE" \
	  --version '$(or $(VERSION),champion)' --model-name '$(MODEL_NAME)' --state '$(STATE)' --output '$(OUT)'

score: $(INSTALLED) ## Score a file or folder of reviews with a version  DATA= [OUT=predictions/NAME VERSION=champion COLUMNS=]
	$(BIN)/python -m pipelines.running.score '$(DATA)' $(if $(OUT),--output '$(OUT)') \
	  --version '$(or $(VERSION),champion)' --model-name '$(MODEL_NAME)' --state '$(STATE)' \
	  $(if $(findstring command,$(origin COLUMNS)),--columns='$(COLUMNS)') $(ARGS)

.PHONY: review review-install review-labels review-collect review-invite
REVIEW = LABEL_STUDIO_VENV='$(abspath $(REVIEW_VENV))' $(BIN)/python -m pipelines.running.review
review: $(INSTALLED) $(REVIEW_VENV)/.installed ## Have people review answers in Label Studio, until stopped  [REVIEW_PORT=8181 LABELS= ARGS=]
	$(REVIEW) serve --state '$(STATE)' --port '$(REVIEW_PORT)' $(if $(LABELS),--labels '$(LABELS)') $(ARGS)

review-install: $(REVIEW_VENV)/.installed ## Install Label Studio into a virtual environment of its own

# As a service beside ours it may have what it likes: its libraries and ours do not agree.
$(REVIEW_VENV)/.installed: components/review/label_studio/requirements.txt
	$(PYTHON) -m venv $(REVIEW_VENV)
	$(call INSTALL_INTO,$(REVIEW_VENV)/bin/python,--requirement $<)
	touch $@

review-labels: $(INSTALLED) ## Draw reviews for people, send them, resolve the votes there are into labels  [LOG= VERSION= ARGS=]
	$(BIN)/python -m pipelines.running.run review --version '$(or $(VERSION),champion)' \
	  --model-name '$(MODEL_NAME)' --log-uri '$(LOG)' $(FOLDERS) $(ARGS)

review-collect: $(INSTALLED) ## Send drawn reviews to Label Studio and collect the votes, once  [ARGS="--wait-minutes 60"]
	$(REVIEW) collect --state '$(STATE)' $(ARGS)

review-invite: $(INSTALLED) ## Print the link by which reviewers make an account
	@$(REVIEW) invite --state '$(STATE)'

loop: $(INSTALLED) $(REVIEW_VENV)/.installed ## Run the whole loop once, with simulated people: drift, review, retraining, canary  [DATA= LOOP=loop ARGS=]
	LABEL_STUDIO_VENV='$(abspath $(REVIEW_VENV))' $(BIN)/python -m pipelines.running.loop \
	  --data '$(DATA)' --folder '$(or $(LOOP),loop)' --model-name '$(MODEL_NAME)' $(call READING,--) $(ARGS)

watch: $(INSTALLED) ## Review, monitor, decide, retrain, again and again  [LOG=state/payloads EVERY=3600 DATA= COLUMNS= LABELS= ARGS=]
	$(BIN)/python -m pipelines.running.watch --every '$(or $(EVERY),3600)' --state '$(STATE)' \
	  --runs '$(RUNS)' --log-uri '$(or $(LOG),$(STATE)/payloads)' --data-uri '$(DATA)' \
	  --base-model '$(BASE_MODEL)' --model-name '$(MODEL_NAME)' $(call READING,--) $(ARGS)

models: $(INSTALLED) ## List the registered versions
	$(IN_STATE) $(BIN)/python -m components.registry --model-name '$(MODEL_NAME)' list

verify: $(INSTALLED) ## Check a version's files, and its signature  [VERSION=champion KEY=public.pem]
	$(IN_STATE) $(BIN)/python -m components.registry --model-name '$(MODEL_NAME)' \
	  verify '$(or $(VERSION),champion)' $(if $(KEY),--key '$(KEY)')

ui: $(INSTALLED) ## Open MLflow's pages on the runs and versions  [UI_PORT=5000]
	$(BIN)/python -m pipelines.running.ui --state '$(STATE)' --port '$(UI_PORT)'

cost: RUN ?= $(lastword $(sort $(wildcard $(RUNS)/*)))
cost: $(INSTALLED) ## Say what a run used and what it costs  [RUN=folder or id NAMESPACE= PRICES=table.yaml]
	@test -n "$(RUN)" || { echo 'error: there is no run; name its folder, or its id on Kubeflow: make cost RUN=…' >&2; exit 2; }
	@$(if $(PRICES),PRICES='$(PRICES)') $(BIN)/python -m pipelines.running.cost '$(RUN)' \
	  $(if $(KFP_ENDPOINT),--endpoint '$(KFP_ENDPOINT)') $(if $(NAMESPACE),--namespace '$(NAMESPACE)')

lookup: $(INSTALLED) ## Read the champion's features of a review from the online store  REVIEW_ID=
	@test -n "$(REVIEW_ID)" || { echo 'error: say which: make lookup REVIEW_ID=…' >&2; exit 2; }
	$(BIN)/python -m pipelines.running.lookup --model-name '$(MODEL_NAME)' --state '$(STATE)' '$(REVIEW_ID)'

migrate-features: $(INSTALLED) ## Move features of a former release into the stable views of the store
	$(IN_STATE) $(BIN)/python -m components.features migrate

monitor: $(INSTALLED) ## Say whether the champion's traffic drifted, and how right it is  [LOG=state/payloads SINCE= UNTIL= ARGS=]
	@$(BIN)/python -m pipelines.running.monitor --model-name '$(MODEL_NAME)' --state '$(STATE)' \
	  $(if $(LOG),--log '$(LOG)') $(if $(SINCE),--since '$(SINCE)') $(if $(UNTIL),--until '$(UNTIL)') $(ARGS)

FORGET = $(BIN)/python -m pipelines.running.forget $(FOLDERS) $(if $(PAYLOADS),--payloads '$(PAYLOADS)')

forget: export FORGOTTEN := $(value REVIEW_ID)
forget: $(INSTALLED) ## Delete a review everywhere  REVIEW_ID= [VERIFY=1 TEXT="part of it" PAYLOADS= ARGS="--also folder"]
	@test -n "$$FORGOTTEN" || { echo 'error: say which: make forget REVIEW_ID=…' >&2; exit 2; }
	@$(FORGET) --review-id "$$FORGOTTEN" $(if $(VERIFY),--verify) $(if $(TEXT),--text '$(TEXT)') $(ARGS)

retain: $(INSTALLED) ## Delete the days of a payload log that are older  PAYLOADS= DAYS=
	@test -n "$(DAYS)" || { echo 'error: say how many days stay: make retain DAYS=30 PAYLOADS=…' >&2; exit 2; }
	@$(FORGET) --retain-days '$(DAYS)'

sql: export SQL_QUERY := $(value QUERY)
sql: $(INSTALLED) ## Ask the ingested reviews in SQL  [QUERY="SELECT …" OUT=file.csv AS_OF=champion ROWS= SECONDS=]
	@$(SQL) --query "$$SQL_QUERY" $(if $(OUT),--out '$(OUT)') $(if $(ROWS),--rows '$(ROWS)') \
	  $(if $(SECONDS),--seconds '$(SECONDS)')

sql-ddl: $(INSTALLED) ## Print the DDL by which another engine reads them  [ENGINE=athena LOCATION= AS_OF=]
	@$(SQL) --ddl '$(or $(ENGINE),athena)' $(if $(LOCATION),--location '$(LOCATION)')

discover: $(INSTALLED) ## Say what a file or folder holds and how to read it  DATA= [COLUMNS= LABELS=]
	@$(BIN)/python -m pipelines.running.discover '$(DATA)' $(call READING,--)

SQL = $(BIN)/python -m pipelines.running.sql --state '$(STATE)' --model-name '$(MODEL_NAME)' \
  $(if $(AS_OF),--as-of '$(AS_OF)')

##@ Development

test: $(INSTALLED) ## Run the fast tests, on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile

test-all: $(INSTALLED) ## Run all tests, the slow ones too
	$(BIN)/python -m pytest -m 'slow or not slow'

lint: $(INSTALLED) ## Check format, style and the walls between the rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

##@ On a cluster

compile: $(INSTALLED) ## Write the pipelines as YAML for Kubeflow to build/
	$(BIN)/python -m pipelines.running.compile --output build

SUBMIT = $(BIN)/python -m pipelines.running.submit --experiment '$(EXPERIMENT)' \
  $(if $(KFP_ENDPOINT),--endpoint '$(KFP_ENDPOINT)') $(if $(NAMESPACE),--namespace '$(NAMESPACE)') \
  $(if $(SERVICE_ACCOUNT),--service-account '$(SERVICE_ACCOUNT)') $(if $(NO_CACHE),--no-cache)
# The images hold no model, so that a cluster starts from one of the hub's unless another is named.
TRAINING = build/$(PIPELINE).yaml data_uri='$(DATA)' $(call READING) $(if $(LOG),log_uri='$(LOG)') $(ARGS) \
  base_model='$(if $(filter file,$(origin BASE_MODEL)),roberta-base,$(BASE_MODEL))'

images: $(IMAGES:%=image-%) ## Build the images with docker, podman or buildah  [IMAGE_REGISTRY= IMAGE_TAG= IMAGE_OPTIONS=]

# Only Docker's format holds a HEALTHCHECK; BUILDAH_FORMAT tells podman and buildah so.
$(IMAGES:%=image-%): image-%:
	@test -n '$(IMAGE_BUILDER)' || { echo 'error: nothing here can build images; install docker, podman or buildah, or start the daemon' >&2; exit 2; }
	BUILDAH_FORMAT=docker $(IMAGE_BUILDER) build --file images/$*/Dockerfile \
	  --tag '$(IMAGE_REGISTRY)/$*:$(IMAGE_TAG)' --build-arg VERSION='$(IMAGE_TAG)' \
	  --build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*')" \
	  $(foreach name,PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS,$(if $($(name)),--build-arg $(name)='$($(name))')) \
	  $(IMAGE_OPTIONS) .

push-images: ## Push the images to IMAGE_REGISTRY
	for image in $(IMAGES); do $(IMAGE_BUILDER) push "$(IMAGE_REGISTRY)/$$image:$(IMAGE_TAG)" || exit; done

preflight: $(INSTALLED) ## Check a cluster before anything runs on it  [NAMESPACE= KFP_ENDPOINT= ARGS=--no-pods]
	@$(BIN)/python -m pipelines.running.preflight $(if $(NAMESPACE),--namespace '$(NAMESPACE)') \
	  $(if $(KFP_ENDPOINT),--kfp-endpoint '$(KFP_ENDPOINT)') $(ARGS)

submit: compile ## Submit training, or a turn of the loop, to Kubeflow  [PIPELINE=loop LOG= KFP_ENDPOINT= NAMESPACE= DATA= BASE_MODEL= ARGS="name=value"]
	$(SUBMIT) --name '$(RUN_NAME)' $(TRAINING)

submit-rollout: compile ## Submit a rollout to Kubeflow  [VERSION=champion ARGS="name=value"]
	$(SUBMIT) build/rollout.yaml version='$(or $(VERSION),champion)' $(ARGS)

schedule: compile ## Do so on Kubeflow again and again  CRON="0 0 3 * * 1" [as submit]
	@test -n "$(CRON)" || { echo 'error: say when, seconds first: make schedule CRON="0 0 3 * * 1"' >&2; exit 2; }
	$(SUBMIT) --name '$(RUN_NAME)' --cron '$(CRON)' $(TRAINING)

schedule-monitoring: compile ## Monitor on Kubeflow again and again  CRON="0 0 6 * * *" LOG=s3://… [ARGS="name=value"]
	@test -n "$(CRON)" -a -n "$(LOG)" || { echo 'error: say when, seconds first, and where the log is: make schedule-monitoring CRON="0 0 6 * * *" LOG=s3://…' >&2; exit 2; }
	$(SUBMIT) --name monitoring --cron '$(CRON)' build/monitoring.yaml log_uri='$(LOG)' $(ARGS)

##@ Benchmarks

BENCH_DATA = $(if $(filter-out sample,$(DATA)),--data '$(DATA)')

bench: bench-data bench-features bench-training ## Run all benchmarks  [DATA=]

bench-data: $(INSTALLED) ## Time and memory of ingest and prepare at 1x and 10x the rows
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_data.py $(BENCH_DATA)

bench-features: $(INSTALLED) ## Tokenisation and feature retrieval against the usual ways  [PREPARED=]
	$(BIN)/python tests/benchmarks/bench_features.py $(if $(PREPARED),--data '$(PREPARED)')

bench-automl: $(INSTALLED) ## AutoML on real data: leaderboard, times, test scores  [DATA= MINUTES=20]
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_automl.py $(BENCH_DATA) $(if $(MINUTES),--minutes "$(MINUTES)")

bench-training: $(INSTALLED) ## Training speed against the plain Trainer
	$(BIN)/python tests/benchmarks/bench_training.py $(BENCH_DATA)

bench-distributed: $(INSTALLED) ## Two training processes against one, on this machine's cores
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_distributed.py $(ARGS)

bench-monitoring: $(INSTALLED) ## Planted drift, false alarms, live accuracy, time  RUN=runs/… [ANSWERS=file]
	@test -n "$(RUN)" || { echo 'error: name the folder of a training run: make bench-monitoring RUN=runs/…' >&2; exit 2; }
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_monitoring.py --run '$(RUN)' $(if $(ANSWERS),--answers '$(ANSWERS)')

bench-serving: $(INSTALLED) ## The model server against KServe's stock way  MODEL= PREDICTIONS=
	@test -n "$(MODEL)$(PREDICTIONS)" || { echo 'error: name two artifacts of a run: MODEL=…/exported PREDICTIONS=…/predictions' >&2; exit 2; }
	$(BIN)/python tests/benchmarks/bench_serving.py --model '$(MODEL)' --predictions '$(PREDICTIONS)' $(ARGS)

bench-batch: $(INSTALLED) ## Batch scoring against the bare engine  MODEL= REVIEWS= [ARGS="--scale 5000 20000"]
	@test -n "$(MODEL)$(REVIEWS)" || { echo 'error: name two artifacts of a run: MODEL=…/exported REVIEWS=…/prepared' >&2; exit 2; }
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_batch.py --model '$(MODEL)' --reviews '$(REVIEWS)' $(ARGS)

bench-log: $(INSTALLED) ## CPU per logged review, and what the masker finds  [DATA=]
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_log.py $(BENCH_DATA)

bench-review: $(INSTALLED) ## What people's review of suspected label noise recovers  [DATA= ARGS="--seeds 5"]
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_review.py $(BENCH_DATA) $(ARGS)

bench-understanding: $(INSTALLED) ## SQL, pages, bias, labels, explanations, AutoML  [DATA= RUN=runs/… MINUTES=20]
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_sql.py
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_pages.py $(BENCH_DATA)
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_bias.py $(if $(RUN),--prepared '$(RUN)/prepare-reviews/prepared' \
	  --predictions '$(RUN)/evaluate-classifier/predictions')
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_labels.py $(BENCH_DATA)
	$(if $(RUN),$(MAKE) bench-explanations MODEL='$(RUN)/fine-tune-classifier/model' \
	  PREDICTIONS='$(RUN)/evaluate-classifier/predictions')
	$(MAKE) bench-automl

bench-explanations: $(INSTALLED) ## Seconds to explain a review  MODEL= PREDICTIONS=
	@test -n "$(MODEL)$(PREDICTIONS)" || { echo 'error: name two artifacts of a run: MODEL=…/model PREDICTIONS=…/predictions' >&2; exit 2; }
	PYTHONPATH=. $(BIN)/python tests/benchmarks/bench_explanations.py --model '$(MODEL)' --predictions '$(PREDICTIONS)' $(ARGS)

##@ Housekeeping

sample: $(INSTALLED) ## Write the bundled sample again from its generator
	$(BIN)/python -m tests.data.sample_generator

constraints: ## Resolve all dependencies anew into constraints.txt (needs uv)
	uv pip compile pyproject.toml --all-extras --python-version 3.11 --no-annotate --no-header \
	  $(foreach folder,$(PIP_FIND_LINKS),--find-links $(folder)) --output-file constraints.txt
	sed -i 's/^\(torch==[0-9.]*\)+cpu$$/\1/; /^review-sentiment/d' constraints.txt

clean: ## Remove what runs wrote: runs/, state/, loop/, predictions/ and build/ (the environments stay)
	rm -rf runs state loop predictions build
