// What a run folder holds: model files, config.toml, history.jsonl.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/error.h"
#include "layers/models/zoo.h"
#include "tests/fuzz/fuzz.h"
#include "tools/data/split_record.h"
#include "tools/detection/detector_file.h"
#include "tools/files/json_file.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/monitoring/history.h"
#include "tools/tasks/kit.h"
#include "tools/training/checkpoint.h"
#include "tools/training/classifier_file.h"
#include "tools/training/config.h"
#include "tools/training/environment.h"
#include "tools/training/safetensors.h"
#include "tools/training/stored_config.h"

int tapescope_main(int argc, char** argv);  // the program

namespace tapescope::fuzz {
namespace {

// What seeds hold, so that any other number is a change.
Tensor zeros(const Type& type) {
  Tensor tensor(type);
  std::memset(tensor.data(), 0, static_cast<std::size_t>(type.bytes()));
  return tensor;
}
bool all_zero(const Tensor& tensor) {
  if (tensor.dtype() != DType::f32) return true;
  const auto values = tensor.values<float>();
  return std::all_of(values.begin(), values.end(), [](float v) { return v == 0; });
}

void safetensors(Bytes bytes) {
  const std::filesystem::path path = write("weights.safetensors", bytes);
  Safetensors file;
  if (!sentence_of([&] { file = read_safetensors(path); }).empty()) return;
  for (const StoredTensor& stored : file.tensors) {
    planted_fault(!all_zero(stored.tensor));
  }
  // What was read can be written, and comes back.
  const std::filesystem::path second = scratch() / "again.safetensors";
  if (!sentence_of([&] { write_safetensors(second, file.tensors, file.metadata); }).empty()) return;
  const Safetensors again = read_safetensors(second);
  promise(again.tensors.size() == file.tensors.size(), "every tensor comes back");
  for (const StoredTensor& stored : file.tensors) {
    const Tensor* found = again.find(stored.name);
    promise(found != nullptr && found->type() == stored.tensor.type(), "a tensor comes back");
  }
}

Seeds safetensors_seeds() {
  const auto path = scratch() / "seed.safetensors";
  Seeds seeds;
  const Tensor f32 = zeros({DType::f32, Shape{2, 3}}), f64 = zeros({DType::f64, Shape{2}}),
               u8 = zeros({DType::u8, Shape{3}}), bf16 = zeros({DType::bf16, Shape{2, 1}});
  write_safetensors(path, {{"a", f32}}, {});
  seeds.push_back(content_of(path));
  write_safetensors(path, {{"a", f32}, {"b.c", f64}, {"d", u8}, {"n", Tensor::scalar_i64(3)}},
                    {{"key", "value"}});
  seeds.push_back(content_of(path));
  write_safetensors(path, {{"h", bf16}}, {{"\"", "\\"}});
  seeds.push_back(content_of(path));
  write_safetensors(path, {{"w", zeros({DType::f32, Shape{16, 16}})}}, {});  // mostly values
  seeds.push_back(content_of(path));
  return seeds;
}

// The same bytes as each of the folder's files, whichever of them they were meant to be.
void run(Bytes bytes) {
  for (const char* name :
       {"checkpoints/best.safetensors", "environment.json", "metrics.json", "split.tsv"}) {
    write(std::string("run/") + name, bytes);
  }
  const std::filesystem::path folder = scratch() / "run";
  sentence_of([&] { differences(read_environment(folder), {}); });
  sentence_of([&] { read_json_object(folder / "metrics.json"); });
  sentence_of([&] {
    const SplitRecord record = SplitRecord::read(folder / "split.tsv");
    const std::string text = record.text();
    const auto again = write("run/again.tsv", bytes_of(text));
    promise(SplitRecord::read(again).text() == text, "a split record comes back");
  });
  sentence_of([&] {
    const auto opened = tasks::open_run({.run = folder.string()});
    promise(!opened->classes().empty(), "every class has a name");
    for (const ParameterRef& parameter : opened->model().parameters()) {
      planted_fault(!all_zero(parameter->value.host()));
    }
  });
}

Seeds run_seeds() {
  const auto path = scratch() / "seed.safetensors";
  ModelInfo info;
  info.config.name = "mlp";
  info.config.channels = 1;
  info.config.classes = 2;
  info.config.image_size = 8;
  info.config.width = 0.01;
  info.classes = {"cat", "dog"};
  info.seed = 7;
  Seeds seeds;
  // The larger mlp is mostly values.
  for (const auto& [name, size] :
       {std::pair<const char*, int>{"mlp", 0}, {"mlp", 16}, {"seednet", 0}}) {
    info.config.name = name;
    info.config.image_size = std::max<std::int64_t>(size, describe_model(name).smallest_image);
    const std::unique_ptr<Classifier> model = make_model(info.config);
    std::vector<StoredTensor> tensors;
    for (const ParameterRef& parameter : model->parameters()) {
      if (parameter->value.shape().rank() == 4) continue;  // seednet's file lacks them
      tensors.push_back({parameter->name, zeros(parameter->value.type())});
    }
    write_safetensors(path, tensors, metadata_of(info));
    if (std::filesystem::file_size(path) < 60000) seeds.push_back(content_of(path));
  }
  detection::DetectorConfig detector;
  detector.classes = {"cell"};
  write_safetensors(path, {}, detection::metadata_of(detector));
  seeds.push_back(content_of(path));
  Environment environment;
  environment.facts = {{"version", "1"}};
  environment.options = {{"seed", "0"}};
  environment.steps = {{loss_bits(0.5), 7}};
  write_environment(scratch(), environment);
  seeds.push_back(content_of(scratch() / "environment.json"));
  seeds.push_back(bytes_of("{\"test_accuracy\": 0.5, \"epochs\": 3, \"best_epoch\": 2}\n"));
  SplitRecord record;
  record.pictures = {{Part::train, "a\tb", {7, 9, 11}, "a/1.png"},
                     {Part::unused, "c", {8, 9, 0}, "c/2.png"}};
  seeds.push_back(bytes_of(record.text()));
  record.heads = true;
  seeds.push_back(bytes_of(record.text()));
  return seeds;
}

void config(Bytes bytes) {
  write("run/config.toml", bytes);
  // As `train --resume` reads it.
  const std::string text = sentence_of([&] {
    TrainConfig stored;
    stored.out = (scratch() / "run").string();
    take_stored_options(stored, {}, "--resume");
  });
  planted_fault(text.find("cannot be understood") != std::string::npos);
  // As `--config` reads it. What is typed behind it wins: data that is not there, and nothing that
  // is written elsewhere. The whole command line takes a hundred times as long.
  if (bytes.size() % 64 != 0) return;
  const std::string none = (scratch() / "none").string();
  std::vector<std::string> line{
      "tapescope", "train", "--config", (scratch() / "run/config.toml").string(),
      "--data",    none,    "--out",    (scratch() / "out").string(),
      "--threads", "1",     "--device", "cpu"};
  std::vector<char*> argv;
  for (std::string& word : line) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::FILE* const messages = stderr;  // the program writes to one of its own
  const int status = tapescope_main(static_cast<int>(line.size()), argv.data());
  if (stderr != messages) std::fclose(std::exchange(stderr, messages));
  promise(status == 0 || status == 2, "options from a file are taken or refused");
}

Seeds config_seeds() {
  const std::string path = (scratch() / "seed.toml").string();
  TrainConfig config;
  config.data = "data";
  config.watch_images = "a \"b\" \\c";
  write_config(config, path);
  return {content_of(path), bytes_of("model = \"lenet\"\nepochs = 3\nlr=0.1\ntensorboard = true\n"),
          bytes_of("# comment\n[train]\nseed = 18446744073709551615\nkernel = 'conv2d=simd'\n"
                   "width = 1.5\n")};
}

void history(Bytes bytes) {
  write("run/history.jsonl", bytes);
  const std::filesystem::path folder = scratch() / "run";
  sentence_of([&] {
    const monitoring::History read = monitoring::read_history(folder);
    for (const EpochRecord& record : read.epochs) planted_fault(record.epoch > 1);
    monitoring::diagnose(read);
    monitoring::to_json(read, {});
  });
  // A training that goes on keeps what can be read.
  sentence_of([&] { monitoring::HistoryWriter(folder, true, 3); });
  sentence_of([&] { monitoring::read_history(folder); });
}

Seeds history_seeds() {
  monitoring::HistoryStart start;
  start.model = "lenet";
  start.classes = {"a", "b"};
  start.images = {3, 4};
  start.parameters = {"fc.weight"};
  const auto folder = scratch() / "seed-run";
  std::filesystem::create_directories(folder);
  {
    monitoring::HistoryWriter writer(folder, false, 0);
    writer.add(start);
    StepRecord step;
    step.step = 1;
    step.epoch = 1;
    step.loss = 0.5;
    writer.add(step);
    StatisticsRecord statistics;
    statistics.step = 1;
    statistics.gradient = statistics.weight = statistics.update = statistics.half_gradient = {0.5};
    writer.add(statistics);
    EpochRecord epoch;
    epoch.epoch = 1;
    epoch.step = 2;
    epoch.validated = true;
    epoch.terms = {{"heat", 0.25}};
    writer.add(epoch);
    monitoring::PulsePoint pulse;
    pulse.pulse.activations.resize(1);
    pulse.pulse.norms.resize(1);
    writer.add(pulse);
    writer.add(2, {monitoring::WatchPoint{1, "i", "m", "t", 0.5, "p", "x.png"}});
    writer.add_failure(3, 2, "stopped");
  }
  const std::vector<std::uint8_t> whole = content_of(folder / "history.jsonl");
  Seeds seeds{whole};
  for (auto line = whole.begin(); line != whole.end();) {  // and each line alone
    const auto end = std::find(line, whole.end(), '\n');
    seeds.emplace_back(line, end);
    line = end == whole.end() ? end : end + 1;
  }
  return seeds;
}

}  // namespace

const Target kSafetensors{"safetensors", safetensors, safetensors_seeds, true},
    kRun{"run", run, run_seeds, true}, kConfig{"config", config, config_seeds, true},
    kHistory{"history", history, history_seeds, true};

}  // namespace tapescope::fuzz
