# Each target sets up what it needs; setup does nothing when everything is there.

CARGO ?= cargo
PYTHON ?= python3
# The interpreter with PyTorch that `./setup --reference` makes.
TCH_INIT_PYTHON ?= .venv/bin/python

.PHONY: help demo test test-models test-scale test-explain test-versions test-tch versions-page sweep bench setup reference models doc api house lint clean

help:
	@echo 'make demo       run the experiment; fetches libtorch if there is none (540 MB)'
	@echo 'make test       all tests, including the live ones; fetches PyTorch (0.6 GB)'
	@echo 'make test-models  compare models of torchvision, timm and transformers with PyTorch'
	@echo 'make test-scale  make models by many processes, and load them with PyTorch and transformers'
	@echo 'make test-explain  find 1,000 random draws from their values, and no seed in 10,000 other tensors (hours)'
	@echo 'make test-tch [TCH=0.24.0]  build with another tch and its libtorch, and test the draws (fetches 0.9 GB)'
	@echo 'make test-versions [VERSIONS="2.15.0 2.0.1"]  record under other versions of PyTorch (fetches 0.6 to 0.9 GB each)'
	@echo 'make versions-page  print the table of versions into docs/versions.md'
	@echo 'make sweep      record every model of these libraries, and write docs/sweep.md (hours)'
	@echo 'make bench      time draws in tch-init and in PyTorch on this machine'
	@echo 'make setup      find or fetch libtorch, so that plain cargo commands work'
	@echo 'make reference  also make .venv, the PyTorch of the live tests'
	@echo 'make models     also make .models: torchvision, timm, transformers (fetches 60 MB more)'
	@echo 'make doc        write the documentation to target/doc'
	@echo 'make api        write the listing of the public API to docs/api'
	@echo 'make house      measure the code: lines, files, public items, cycles, duplicates'
	@echo 'make lint       check formatting, clippy and the listing of the API, as CI does'
	@echo 'make clean      remove the output of cargo, but not the downloads (.libtorch, .venv, .models)'

demo: setup
	$(CARGO) run --release --features cli -- demo

# The live tests are #[ignore]d, so that plain `cargo test` needs no PyTorch; here they must run. The crates
# without libtorch are tested apart (vision_forward needs torchvision: test-models): built with tch-init, they would get tensor-parity's feature tch.
test:
	$(PYTHON) -m unittest discover -s tests/python/setup
	$(PYTHON) tools/setup.py --reference
	ls tests/python/record/test_*.py tests/python/trace/test_*.py | xargs -n 1 -P 2 $(TCH_INIT_PYTHON) -m unittest
	$(CARGO) test --features cli -- --include-ignored --skip vision_forward
	$(CARGO) test --no-default-features --features cli
	$(CARGO) test -p torch-rng -p tensor-parity -p init-plan -p op-trace --features torch-rng/rand_core
	$(CARGO) check --all-targets
	$(CARGO) check --all-targets --no-default-features

# In Python, which imports a library once for all its models.
test-models: models
	$(CARGO) build --features cli
	PYTHONPATH=.models $(TCH_INIT_PYTHON) -m unittest tests.python.libraries.test_models tests.python.libraries.test_shards
	PYTHONPATH=.models $(CARGO) test --features cli --test main -- --include-ignored vision_forward

# What many processes make, read by PyTorch.
test-scale: models
	$(PYTHON) tools/launchers.py
	$(CARGO) build --features cli
	PYTHONPATH=.models $(TCH_INIT_PYTHON) -m unittest discover -s tests/python/scale -t .

# The same tests take fewer in `make test`. TCH_INIT_WORDS=40 searches up to 2^40 words back for a seed.
test-explain: reference
	TCH_INIT_CASES=1000 TCH_INIT_FILES=100 $(CARGO) test --features cli --test main -- --ignored --nocapture random_draws_are_found no_seed_is_found

# Each version is installed alone and deleted after. WRITE=1 writes the table of docs/versions.md.
test-versions: reference
	$(CARGO) build --features cli
	$(TCH_INIT_PYTHON) -m tests.python.versions.matrix $(if $(WRITE),--write) $(VERSIONS)

# With another version of tch and its libtorch, in target/tch-VERSION.
test-tch: reference
	$(TCH_INIT_PYTHON) tools/other_tch.py $(TCH)

versions-page: setup
	$(CARGO) build --features cli
	$(PYTHON) tools/versions_page.py

# Goes on where it was stopped; --again repeats what was not equal.
sweep: models
	$(CARGO) build --features cli
	PYTHONPATH=.models nice -n 19 $(TCH_INIT_PYTHON) -m tests.python.libraries.sweep run --again
	PYTHONPATH=.models $(TCH_INIT_PYTHON) -m tests.python.libraries.sweep table

bench: models
	PYTHONPATH=.models $(CARGO) bench --features cli --bench engine
	PYTHONPATH=.models $(CARGO) bench --features cli --bench models
	$(CARGO) bench --no-default-features --bench ranks

setup:
	$(PYTHON) tools/setup.py

reference:
	$(PYTHON) tools/setup.py --reference

models:
	$(PYTHON) tools/setup.py --models

doc: setup
	$(CARGO) doc --workspace --no-deps

api: setup
	$(PYTHON) tools/public_api.py

house:
	$(PYTHON) tools/house.py

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --features cli -- -D warnings
	$(CARGO) clippy --all-targets --no-default-features --features cli -- -D warnings
	$(PYTHON) tools/public_api.py --check

clean:
	$(CARGO) clean
