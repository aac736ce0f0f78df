// detect MODEL IMAGE ...: prints {"image's name": [[[x, y], ...] per box, in pixels], ...} as JSON.
// MODEL: an exported folder, or an .onnx or .pdmodel file with the export's inference.yml beside it.
#include <iostream>
#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <openvino/openvino.hpp>
#include <regex>

#include "detect.hpp"

namespace fs = std::filesystem;

static fs::path model_file(const fs::path& given) {
    if (fs::is_regular_file(given)) return given;
    if (fs::is_directory(given))
        for (const auto& entry : fs::directory_iterator(given))
            if (entry.path().extension() == ".pdmodel" || entry.path().extension() == ".onnx") return entry.path();
    throw std::runtime_error(given.string() + ": expected a folder with a .pdmodel or .onnx file, or such a file");
}

static ov::CompiledModel load(const fs::path& file) try {
    // f32: where the processor has it, OpenVINO computes in bfloat16 otherwise, and the map is up to 0.4 off
    return ov::Core().compile_model(file.string(), "CPU", ov::hint::inference_precision(ov::element::f32));
} catch (const std::exception& error) {
    throw std::runtime_error(file.string() + ": OpenVINO cannot load it: " + error.what());
}

static cv::Mat read_image(const fs::path& file, const Settings& settings) {
    const int how = cv::IMREAD_COLOR | (settings.ignore_orientation ? cv::IMREAD_IGNORE_ORIENTATION : 0);
    const cv::Mat image = fs::is_regular_file(file) ? cv::imread(file.string(), how) : cv::Mat();
    if (image.empty()) throw std::runtime_error(file.string() + ": not found, or not an image");
    return image;
}

// float [1, 3, H, W], as the network takes it.
static ov::Tensor network_input(cv::Mat image, const Settings& settings) {
    if (image.rows + image.cols < 64)
        cv::copyMakeBorder(image, image, 0, std::max(0, 32 - image.rows), 0, std::max(0, 32 - image.cols), 0);
    const cv::Size size = settings.network_size(image.size());
    cv::resize(image, image, size);
    if (settings.rgb) cv::cvtColor(image, image, cv::COLOR_BGR2RGB);
    image.convertTo(image, CV_32F, settings.scale);
    ov::Tensor input(ov::element::f32, {1, 3, static_cast<size_t>(size.height), static_cast<size_t>(size.width)});
    for (int channel = 0; channel < 3; ++channel) {
        cv::Mat plane(size, CV_32F, input.data<float>() + channel * size.area());
        cv::extractChannel(image, plane, channel);
        plane = (plane - settings.mean[channel]) / settings.deviation[channel];
    }
    return input;
}

static std::vector<Box> detect(ov::InferRequest& network, const cv::Mat& image, const Settings& settings) {
    const ov::Tensor input = network_input(image, settings);
    network.set_input_tensor(input);
    network.infer();
    ov::Tensor output = network.get_output_tensor(0);
    const ov::Shape size = input.get_shape();
    if (output.get_shape() != ov::Shape{1, 1, size[2], size[3]})
        throw std::runtime_error("no detector of the DB family: its output is not one map of the size of its input");
    const cv::Mat map(static_cast<int>(size[2]), static_cast<int>(size[3]), CV_32F, output.data<float>());
    return boxes_of(map, image.size(), settings);
}

static void run(const fs::path& given, const std::vector<fs::path>& images) {
    const fs::path model = model_file(given);
    const Settings settings = read_settings(model.parent_path() / "inference.yml");
    ov::CompiledModel compiled = load(model);
    ov::InferRequest network = compiled.create_infer_request();
    nlohmann::ordered_json found;
    for (const fs::path& image : images)
        found[image.filename().string()] = detect(network, read_image(image, settings), settings);
    std::cout << found.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

int main(int count, char** words) try {
    if (count < 3) throw std::runtime_error("expected: detect MODEL IMAGE ...");
    run(words[1], {words + 2, words + count});
} catch (const std::exception& error) {
    const std::string in_a_line = std::regex_replace(std::string(error.what()), std::regex("\\s+"), " ");
    std::cerr << "error: " << in_a_line.substr(0, 400) << '\n';
    return 2;
}
