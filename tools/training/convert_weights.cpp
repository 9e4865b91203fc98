#include "tools/training/convert_weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/files/atomic_file.h"
#include "tools/files/input_files.h"
#include "tools/files/json_text.h"
#include "tools/files/near_names.h"
#include "tools/files/text.h"
#include "tools/training/classifier_file.h"
#include "tools/training/preprocessing.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<std::string> lines_of(const std::string& path, const char* what) {
  std::ifstream stream(path);
  if (!stream) throw usage_error("{} '{}' cannot be read; check the path", what, printable(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    while (line.ends_with('\r') || line.ends_with(' ')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

// One per line, or a JSON list.
std::vector<std::string> classes_of(const std::string& path) {
  std::vector<std::string> lines = lines_of(path, "--classes");
  if (lines.empty() || !lines[0].starts_with('[')) return lines;
  const Json list = Json::parse(fmt::format("{}", fmt::join(lines, "\n")), nullptr, false);
  std::vector<std::string> names;
  for (const Json& name : list) {
    if (!name.is_string()) break;
    names.push_back(printable(name.get<std::string>()));
  }
  if (list.is_discarded() || names.size() != list.size()) {
    throw usage_error(
        "--classes '{}' is no list of names; give a JSON list of them, or one per line",
        printable(path));
  }
  return names;
}

// "OLD NEW" by line.
std::vector<std::pair<std::string, std::string>> renames_of(const std::string& path) {
  std::vector<std::pair<std::string, std::string>> renames;
  if (path.empty()) return renames;
  for (const std::string& line : lines_of(path, "--rename")) {
    const std::size_t blank = line.find(' ');
    if (blank == 0 || blank == std::string::npos ||
        line.find(' ', blank + 1) != std::string::npos) {
      throw usage_error("--rename '{}' has the line '{}'; each is OLD NEW, with a blank between",
                        printable(path), shown_name(line));
    }
    renames.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  return renames;
}

std::string renamed(const std::string& name,
                    const std::vector<std::pair<std::string, std::string>>& renames) {
  for (const auto& [before, after] : renames) {
    if (name.starts_with(before)) return after + name.substr(before.size());
  }
  return name;
}

// What the written file says of itself; `known`: whether the zoo has its model.
std::map<std::string, std::string> metadata_for(const WeightsRequest& request,
                                                const WeightsFile& file, bool& known) {
  std::map<std::string, std::string> metadata = file.metadata();
  if (request.model.empty()) return metadata;
  if (request.classes.empty()) {
    throw usage_error("--model needs --classes FILE: the names of its {} classes, one per line",
                      printable(request.model));
  }
  const Pipeline pipeline = preprocessing_from(request.preprocess);
  ModelInfo info;
  info.classes = classes_of(request.classes);
  info.pipeline = pipeline;
  info.exif = Exif::apply;
  info.config = {request.model, static_cast<std::int64_t>(info.classes.size()),
                 static_cast<std::int64_t>(normalization_of(pipeline).mean.size()),
                 side_of(pipeline)};
  const auto names = model_descriptions();
  known = std::any_of(names.begin(), names.end(),
                      [&](const ModelDescription& d) { return d.name == request.model; });
  if (!known) {
    std::vector<std::string> all;
    for (const ModelDescription& d : names) all.emplace_back(d.name);
    expect_no_slip("--model", request.model, all, "`train --help` lists all");
  }
  for (auto& [key, value] : metadata_of(info)) metadata[key] = value;
  metadata["tapescope.task"] = "classification";
  metadata["tapescope.format"] = std::to_string(kRunFormat);
  return metadata;
}

// Where --out leads to, links followed: a file, and none that is read.
fs::path written_to(const WeightsRequest& request) {
  InputFiles inputs;
  for (const std::string& input : {request.file, request.classes, request.rename}) {
    if (!input.empty()) inputs.add(input);
  }
  inputs.expect_apart("--out", request.out);
  std::error_code error;
  fs::path out = fs::weakly_canonical(request.out, error);
  if (error) out = request.out;
  if (fs::exists(out, error) && !fs::is_regular_file(out, error)) {
    throw usage_error("--out '{}' is no file: name one to write", printable(request.out));
  }
  expect_writable("--out", out);
  return out;
}

void write(const WeightsRequest& request, WeightsFile& file, std::vector<std::string>& notices) {
  const fs::path out = written_to(request);
  const auto renames = renames_of(request.rename);
  bool known = false;
  const auto metadata = metadata_for(request, file, known);
  std::vector<StoredTensor> tensors;
  for (const WeightsFile::Entry& entry : file.entries()) {
    if (file_type(entry.dtype) == nullptr) {
      notices.push_back(fmt::format("left out: {}, whose dtype {} is not read",
                                    shown_name(entry.name), shown_name(entry.dtype)));
      continue;
    }
    tensors.push_back({renamed(entry.name, renames), file.read(entry)});
  }
  const fs::path part = out.string() + ".part";
  try {
    write_safetensors(part, tensors, metadata);
    if (known) {
      SafetensorsFile written(part);
      load_model(written, {.notices = &notices});
    }
    fs::rename(part, out);
  } catch (const std::exception& error) {
    std::error_code gone;
    fs::remove(part, gone);
    std::string what = error.what();
    for (std::size_t at = 0; (at = what.find(part.string(), at)) != std::string::npos;) {
      what.replace(at, part.string().size(), out.string());
    }
    const auto* ours = dynamic_cast<const Error*>(&error);
    throw Error(ours != nullptr ? ours->blame() : Blame::failure, what);
  }
  if (!request.model.empty() && !known) {
    notices.push_back(
        fmt::format("this version has no model '{}': whether the tensors fit it is "
                    "not known",
                    printable(request.model)));
  }
  notices.push_back(
      fmt::format("{} tensors written to {}", tensors.size(), printable(request.out)));
}

}  // namespace

WeightsAnswer describe_weights(const WeightsRequest& request) {
  if (request.out.empty() && (!request.model.empty() || !request.rename.empty())) {
    throw usage_error("--model and --rename are of --out FILE, which is written");
  }
  const std::unique_ptr<WeightsFile> file = open_weights(request.file);
  std::vector<std::string> notices = file->notices();
  if (!request.out.empty()) write(request, *file, notices);

  constexpr std::size_t kScreen = 40;
  const auto& entries = file->entries();
  const std::size_t shown = request.all ? entries.size() : std::min(entries.size(), kScreen);
  std::size_t width = 0;
  for (std::size_t i = 0; i < shown; ++i) {
    width = std::max(width, characters(shown_name(entries[i].name)));
  }
  std::string text;
  Json list = Json::array();
  std::uint64_t bytes = 0;
  std::int64_t values = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const WeightsFile::Entry& entry = entries[i];
    std::int64_t elements = 1;
    for (const std::int64_t extent : entry.shape) elements *= extent;
    values += elements;
    bytes += entry.end - entry.begin;
    list.push_back({{"name", printable(entry.name)},
                    {"dtype", printable(entry.dtype)},
                    {"shape", entry.shape}});
    if (i < shown) {
      text += fmt::format("  {}  {:<5} {{{}}}\n", padded(shown_name(entry.name), width),
                          printable(entry.dtype), fmt::join(entry.shape, ", "));
    }
  }
  if (shown < entries.size()) {
    text += fmt::format("  and {} more (--all lists them)\n", entries.size() - shown);
  }
  Json metadata = Json::object();
  for (const auto& [key, value] : file->metadata()) {
    metadata[printable(key)] = printable(value);
    const std::string line = printable(value.substr(0, 100));
    text += fmt::format("  {}: {}{}\n", shown_name(key), line, value.size() > 100 ? "..." : "");
  }
  std::string told;
  for (const std::string& notice : notices) told += notice + "\n";
  text = fmt::format("{}: {} tensors, {} values, {:.1f} MB\n", printable(request.file),
                     entries.size(), values, static_cast<double>(bytes) / 1e6) +
         text + told;
  const Json json = {{"file", printable(request.file)},
                     {"values", values},
                     {"bytes", bytes},
                     {"tensors", list},
                     {"metadata", metadata},
                     {"notices", notices}};
  return {text, json_text(json, 2)};
}

}  // namespace tapescope
