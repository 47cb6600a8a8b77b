// One lane of the inner dataflow: owns an output, multiplies windows along K.
//
// A window that is pushed in cycle t can be worked on from cycle t + 1.  A lane spends a cycle for
// each MACS half-products of the window at the head of its queue, at least one; in the last of
// them the window leaves, and its place counts as free in that same cycle.  The sum of an output
// is written three cycles after its last window.

module mac_lane_inner #(
    parameter MACS = 2,
    parameter WINDOW = 8,
    parameter QUEUE_DEPTH = 2,
    parameter WEIGHT_BITS = 8,
    parameter HALVES = 1,
    parameter SKIP_WEIGHTS = 1,
    parameter SKIP_ACTIVATIONS = 0,
    parameter BANK_BITS = 12
) (
    input  wire                            clk,
    input  wire                            reset,
    // Place of the tile in the bank, taken at the start of a job.
    input  wire                            load,
    input  wire [BANK_BITS-1:0]            base,
    // Weight banks: a word is a window, and even and odd words have a bank each.
    input  wire [1:0]                      write_enable,
    input  wire [2*(BANK_BITS-1)-1:0]      write_address,
    input  wire [2*WINDOW*WEIGHT_BITS-1:0] write_data,
    // Activation windows.
    input  wire                            push,
    input  wire [WINDOW*HALVES*8-1:0]      push_data,
    input  wire [WINDOW-1:0]               push_positions,
    input  wire                            push_ends_sum,
    input  wire                            push_ends_row,
    input  wire                            push_ends_job,
    output wire                            room,
    output wire                            idle_next,
    // Finished sums.
    output reg                             sum_valid,
    output reg                             sum_ends_job,
    output reg  signed [31:0]              sum_data
);
    /* verilator no_inline_module */  // one compiled body for all lanes
    localparam ACTIVATION_BITS = HALVES * 8;
    localparam PARTS = WINDOW * HALVES;
    localparam INDEX_BITS = (PARTS > 1) ? $clog2(PARTS) : 1;
    localparam POINTER_BITS = (QUEUE_DEPTH > 1) ? $clog2(QUEUE_DEPTH) : 1;

    // Weight banks with a synchronous read; the word of the window at the head is always out.
    reg [WINDOW*WEIGHT_BITS-1:0] even [0:(1<<(BANK_BITS-1))-1];
    reg [WINDOW*WEIGHT_BITS-1:0] odd [0:(1<<(BANK_BITS-1))-1];
    reg [WINDOW*WEIGHT_BITS-1:0] weights;
    reg [BANK_BITS-1:0] first_address, address;
    wire pop;
    wire [BANK_BITS-1:0] next_address = load ? base
        : !pop ? address
        : head_ends_row ? first_address : address + 1'b1;

    always @(posedge clk) begin
        if (write_enable[0])
            even[write_address[BANK_BITS-2:0]] <= write_data[WINDOW*WEIGHT_BITS-1:0];
        if (write_enable[1])
            odd[write_address[2*(BANK_BITS-1)-1:BANK_BITS-1]]
                <= write_data[2*WINDOW*WEIGHT_BITS-1:WINDOW*WEIGHT_BITS];
        weights <= next_address[0] ? odd[next_address[BANK_BITS-1:1]]
            : even[next_address[BANK_BITS-1:1]];
        address <= next_address;
        if (load) first_address <= base;
    end

    // Queue of activation windows.
    reg [WINDOW*ACTIVATION_BITS-1:0] queue_data [0:QUEUE_DEPTH-1];
    reg [WINDOW-1:0] queue_positions [0:QUEUE_DEPTH-1];
    reg [2:0] queue_ends [0:QUEUE_DEPTH-1];
    reg [POINTER_BITS-1:0] head, tail;
    reg [15:0] count;
    wire [WINDOW*ACTIVATION_BITS-1:0] activations = queue_data[head];
    wire head_valid = count != 0;
    wire head_ends_sum = queue_ends[head][0];
    wire head_ends_row = queue_ends[head][1];
    wire head_ends_job = queue_ends[head][2];

    assign room = count < 16'(QUEUE_DEPTH) || pop;
    assign idle_next = count == 0 || (count == 1 && pop);

    always @(posedge clk) begin
        if (reset) begin
            head <= 0;
            tail <= 0;
            count <= 0;
        end else begin
            if (push) begin
                queue_data[tail] <= push_data;
                queue_positions[tail] <= push_positions;
                queue_ends[tail] <= {push_ends_job, push_ends_row, push_ends_sum};
                tail <= (tail == POINTER_BITS'(QUEUE_DEPTH - 1)) ? 0 : tail + 1'b1;
            end
            if (pop) head <= (head == POINTER_BITS'(QUEUE_DEPTH - 1)) ? 0 : head + 1'b1;
            count <= count + 16'(push) - 16'(pop);
        end
    end

    // Which half-products of the window count, and which of them are still to be done.
    reg [PARTS-1:0] counted, left;
    reg fresh;
    wire [PARTS-1:0] current = !head_valid ? 0 : fresh ? counted : left;
    wire [PARTS-1:0] rest;
    wire [MACS-1:0] slot_valid;
    wire [MACS*INDEX_BITS-1:0] slot_index;
    integer i;

    always @(*)
        for (i = 0; i < PARTS; i = i + 1)
            counted[i] = queue_positions[head][i/HALVES]
                && (SKIP_WEIGHTS == 0 || weights[(i/HALVES)*WEIGHT_BITS +: WEIGHT_BITS] != 0)
                && (SKIP_ACTIVATIONS == 0
                    || activations[(i/HALVES)*ACTIVATION_BITS +: ACTIVATION_BITS] != 0);

    nonzero_pick #(.WIDTH(PARTS), .SLOTS(MACS), .INDEX_BITS(INDEX_BITS)) pick (
        .mask(current), .rest(rest), .slot_valid(slot_valid), .slot_index(slot_index)
    );

    assign pop = head_valid && rest == 0;

    always @(posedge clk)
        if (reset) fresh <= 1'b1;
        else if (head_valid) begin
            fresh <= pop;
            left <= rest;
        end

    // Operands, then the sum of their products, then the accumulator.
    reg signed [WEIGHT_BITS-1:0] operand_weight [0:MACS-1];
    reg signed [16:0] operand_activation [0:MACS-1];
    reg [1:0] stage_ends_sum, stage_ends_job;
    reg signed [31:0] products, product_sum, accumulator;
    wire signed [31:0] total = accumulator + product_sum;
    reg signed [WEIGHT_BITS-1:0] picked_weight [0:MACS-1];
    reg signed [16:0] picked_activation [0:MACS-1];
    integer m, at;

    always @(*)
        for (m = 0; m < MACS; m = m + 1) begin
            at = 32'(slot_index[m*INDEX_BITS +: INDEX_BITS]);
            picked_weight[m] = slot_valid[m] ? weights[(at/HALVES)*WEIGHT_BITS +: WEIGHT_BITS] : 0;
            // The upper half is signed and counts 256-fold, a lower half is unsigned.
            picked_activation[m] = (at % HALVES == HALVES - 1)
                ? 17'($signed(activations[at*8 +: 8])) <<< (8 * (HALVES - 1))
                : {9'b0, activations[at*8 +: 8]};
        end

    integer r;
    always @(posedge clk)
        for (r = 0; r < MACS; r = r + 1) begin
            operand_weight[r] <= picked_weight[r];
            operand_activation[r] <= picked_activation[r];
        end

    integer s;
    always @(*) begin
        products = 0;
        for (s = 0; s < MACS; s = s + 1)
            products = products + 32'(operand_weight[s]) * 32'(operand_activation[s]);
    end

    always @(posedge clk)
        if (reset) begin
            stage_ends_sum <= 0;
            stage_ends_job <= 0;
            accumulator <= 0;
            product_sum <= 0;
            sum_valid <= 1'b0;
            sum_ends_job <= 1'b0;
        end else begin
            stage_ends_sum <= {stage_ends_sum[0], pop && head_ends_sum};
            stage_ends_job <= {stage_ends_job[0], pop && head_ends_job};
            product_sum <= products;
            accumulator <= stage_ends_sum[1] ? 0 : total;
            sum_data <= total;
            sum_valid <= stage_ends_sum[1];
            sum_ends_job <= stage_ends_job[1];
        end
endmodule
