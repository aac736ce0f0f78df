#include <yaml-cpp/yaml.h>

#include <cmath>
#include <stdexcept>

#include "detect.hpp"

template <typename T>
static void take(const YAML::Node& section, const std::string& key, T& value) {
    if (section[key]) value = section[key].as<T>();
}

// A key's text, which has to be one of `known`; without the key, the first of them.
static std::string choice(const YAML::Node& section, const std::string& key, const std::vector<std::string>& known) {
    const auto found = section[key].as<std::string>(known.front());
    if (std::find(known.begin(), known.end(), found) != known.end()) return found;
    throw std::runtime_error(key + ": found " + found + ", which this program does not know");
}

static void read_resize(const YAML::Node& given, Settings& settings) {
    if (given["image_shape"]) {
        choice(given, "keep_ratio", {"false"});
        settings.image_shape = {given["image_shape"][1].as<int>(), given["image_shape"][0].as<int>()};
    } else if (given["limit_side_len"]) {
        settings.limit_side_len = given["limit_side_len"].as<int>();
        settings.limit_type = choice(given, "limit_type", {"min", "max", "resize_long"});
    } else if (given["resize_long"]) {
        settings.limit_side_len = given["resize_long"].as<int>();
        settings.limit_type = "long";
    }
}

static void read_transform(const std::string& name, const YAML::Node& given, Settings& settings) {
    if (name == "DecodeImage") {
        settings.rgb = choice(given, "img_mode", {"RGB", "BGR"}) == "RGB";
        take(given, "ignore_orientation", settings.ignore_orientation);
    } else if (name == "DetResizeForTest") {
        read_resize(given, settings);
    } else if (name == "NormalizeImage") {
        const auto scale = given["scale"].as<std::string>("1./255.");
        const auto slash = scale.find('/');
        settings.scale = std::stod(scale) / (slash == std::string::npos ? 1 : std::stod(scale.substr(slash + 1)));
        take(given, "mean", settings.mean);
        take(given, "std", settings.deviation);
    } else if (name != "DetLabelEncode" && name != "ToCHWImage" && name != "KeepKeys") {
        throw std::runtime_error("transform_ops: found " + name + ", which this program does not know");
    }
}

static void read_post_process(const YAML::Node& given, Settings& settings) {
    choice(given, "name", {"DBPostProcess"});
    choice(given, "box_type", {"quad"});
    choice(given, "score_mode", {"fast"});
    take(given, "thresh", settings.thresh);
    take(given, "box_thresh", settings.box_thresh);
    take(given, "max_candidates", settings.max_candidates);
    take(given, "unclip_ratio", settings.unclip_ratio);
    take(given, "use_dilation", settings.use_dilation);
}

cv::Size Settings::network_size(cv::Size image) const {
    if (!image_shape.empty()) return image_shape;
    const auto [shorter, longer] = std::minmax(image.width, image.height);
    double ratio = static_cast<double>(limit_side_len) / (limit_type == "min" ? shorter : longer);
    if ((limit_type == "min" && ratio < 1) || (limit_type == "max" && ratio > 1)) ratio = 1;
    const auto side = [&](int pixels) {
        const double scaled = static_cast<int>(pixels * ratio);
        if (limit_type == "long") return static_cast<int>(std::ceil(scaled / 128)) * 128;
        return std::max(32, static_cast<int>(std::nearbyint(scaled / 32)) * 32);  // halves to even, as in Python
    };
    return {side(image.width), side(image.height)};
}

Settings read_settings(const std::filesystem::path& file) try {
    if (!std::filesystem::is_regular_file(file)) throw std::runtime_error("not found; it lies beside a model's file");
    Settings settings;
    const YAML::Node tree = YAML::LoadFile(file.string());
    if (!tree["PreProcess"]["transform_ops"] || !tree["PostProcess"])
        throw std::runtime_error("expected PreProcess.transform_ops and PostProcess");
    for (const auto& transform : tree["PreProcess"]["transform_ops"])
        for (const auto& entry : transform) read_transform(entry.first.as<std::string>(), entry.second, settings);
    read_post_process(tree["PostProcess"], settings);
    return settings;
} catch (const std::exception& error) {
    throw std::runtime_error(file.string() + ": " + error.what());
}
