// One lane of the outer dataflow: scans its interleaved rows of the column of each activation.
//
// An activation that is pushed in cycle t can be worked on from cycle t + 1.  For each of its scans
// a lane spends a cycle for each MACS half-products, at least one; with the last of them the
// activation leaves the queue, and its place counts as free in that same cycle.  A product is in
// its accumulator three cycles after it was picked.

module mac_lane_outer #(
    parameter MACS = 2,
    parameter WINDOW = 8,
    parameter QUEUE_DEPTH = 2,
    parameter WEIGHT_BITS = 8,
    parameter HALVES = 1,
    parameter SKIP_WEIGHTS = 1,
    parameter BANK_BITS = 12,
    parameter SUM_BITS = 6
) (
    input  wire                          clk,
    input  wire                          reset,
    // Rows of the tile that are this lane's, scans of a column; taken at the start of a job.
    input  wire                          load,
    input  wire [15:0]                   job_rows_of_lane,
    input  wire [15:0]                   job_scans,
    // Weight banks: a word is a scan of a column, column after column; even and odd words have a
    // bank each.
    input  wire [1:0]                      write_enable,
    input  wire [2*(BANK_BITS-1)-1:0]      write_address,
    input  wire [2*WINDOW*WEIGHT_BITS-1:0] write_data,
    // Activations: value, place of the column in the bank, place of the sums.
    input  wire                          push,
    input  wire [HALVES*8-1:0]           push_value,
    input  wire [BANK_BITS-1:0]          push_address,
    input  wire [SUM_BITS-1:0]           push_sums,
    output wire                          room,
    output wire                          idle_next,
    // Sums, after the job.
    input  wire [SUM_BITS-1:0]           sum_address,
    output wire [WINDOW*32-1:0]          sum_data
);
    /* verilator no_inline_module */  // one compiled body for all lanes
    localparam ACTIVATION_BITS = HALVES * 8;
    localparam PARTS = WINDOW * HALVES;
    localparam INDEX_BITS = (PARTS > 1) ? $clog2(PARTS) : 1;
    localparam POINTER_BITS = (QUEUE_DEPTH > 1) ? $clog2(QUEUE_DEPTH) : 1;

    // Queue of activations.
    reg [ACTIVATION_BITS-1:0] queue_value [0:QUEUE_DEPTH-1];
    reg [BANK_BITS-1:0] queue_address [0:QUEUE_DEPTH-1];
    reg [SUM_BITS-1:0] queue_sums [0:QUEUE_DEPTH-1];
    reg [POINTER_BITS-1:0] head, tail;
    reg [15:0] count;
    wire [POINTER_BITS-1:0] after = (head == POINTER_BITS'(QUEUE_DEPTH - 1)) ? 0 : head + 1'b1;
    wire [ACTIVATION_BITS-1:0] value = queue_value[head];
    wire head_valid = count != 0;
    wire pop;

    assign room = count < 16'(QUEUE_DEPTH) || pop;
    assign idle_next = count == 0 || (count == 1 && pop);

    always @(posedge clk) begin
        if (reset) begin
            head <= 0;
            tail <= 0;
            count <= 0;
        end else begin
            if (push) begin
                queue_value[tail] <= push_value;
                queue_address[tail] <= push_address;
                queue_sums[tail] <= push_sums;
                tail <= (tail == POINTER_BITS'(QUEUE_DEPTH - 1)) ? 0 : tail + 1'b1;
            end
            if (pop) head <= after;
            count <= count + 16'(push) - 16'(pop);
        end
    end

    // Weight banks with a synchronous read; the word of the scan at hand is always out.
    reg [WINDOW*WEIGHT_BITS-1:0] even [0:(1<<(BANK_BITS-1))-1];
    reg [WINDOW*WEIGHT_BITS-1:0] odd [0:(1<<(BANK_BITS-1))-1];
    reg [WINDOW*WEIGHT_BITS-1:0] weights;
    reg [BANK_BITS-1:0] address;
    wire scan_done;
    wire [BANK_BITS-1:0] next_address = idle_next ? push_address
        : pop ? queue_address[after]
        : scan_done ? address + 1'b1 : address;

    always @(posedge clk) begin
        if (write_enable[0])
            even[write_address[BANK_BITS-2:0]] <= write_data[WINDOW*WEIGHT_BITS-1:0];
        if (write_enable[1])
            odd[write_address[2*(BANK_BITS-1)-1:BANK_BITS-1]]
                <= write_data[2*WINDOW*WEIGHT_BITS-1:WINDOW*WEIGHT_BITS];
        weights <= next_address[0] ? odd[next_address[BANK_BITS-1:1]]
            : even[next_address[BANK_BITS-1:1]];
        address <= next_address;
    end

    // Which half-products of the scan count, and which of them are still to be done.
    reg [15:0] rows_of_lane, scans, scan;
    reg [PARTS-1:0] counted, left;
    reg fresh;
    wire [PARTS-1:0] current = !head_valid ? 0 : fresh ? counted : left;
    wire [PARTS-1:0] rest;
    wire [MACS-1:0] slot_valid;
    wire [MACS*INDEX_BITS-1:0] slot_index;
    integer i;

    always @(*)
        for (i = 0; i < PARTS; i = i + 1)
            counted[i] = 32'(scan) * WINDOW + i/HALVES < 32'(rows_of_lane)
                && (SKIP_WEIGHTS == 0 || weights[(i/HALVES)*WEIGHT_BITS +: WEIGHT_BITS] != 0);

    nonzero_pick #(.WIDTH(PARTS), .SLOTS(MACS), .INDEX_BITS(INDEX_BITS)) pick (
        .mask(current), .rest(rest), .slot_valid(slot_valid), .slot_index(slot_index)
    );

    assign scan_done = head_valid && rest == 0;
    assign pop = scan_done && scan + 1 == scans;

    always @(posedge clk)
        if (reset) fresh <= 1'b1;
        else begin
            if (load) begin
                rows_of_lane <= job_rows_of_lane;
                scans <= job_scans;
                scan <= 0;
            end
            if (head_valid) begin
                fresh <= scan_done;
                left <= rest;
                if (scan_done) scan <= pop ? 0 : scan + 1'b1;
            end
        end

    // Operands, then products, then one word of accumulators read, added to and written.
    reg signed [WEIGHT_BITS-1:0] picked_weight [0:MACS-1];
    reg signed [16:0] picked_activation [0:MACS-1];
    reg signed [WEIGHT_BITS-1:0] operand_weight [0:MACS-1];
    reg signed [16:0] operand_activation [0:MACS-1];
    reg signed [31:0] product [0:MACS-1];
    reg [MACS*INDEX_BITS-1:0] operand_index, product_index;
    reg [SUM_BITS-1:0] operand_sums, product_sums;
    reg operand_valid, product_valid;
    integer m, at;

    always @(*)
        for (m = 0; m < MACS; m = m + 1) begin
            at = 32'(slot_index[m*INDEX_BITS +: INDEX_BITS]);
            picked_weight[m] = slot_valid[m] ? weights[(at/HALVES)*WEIGHT_BITS +: WEIGHT_BITS] : 0;
            // The upper half is signed and counts 256-fold, a lower half is unsigned.
            picked_activation[m] = (at % HALVES == HALVES - 1)
                ? 17'($signed(value[(HALVES-1)*8 +: 8])) <<< (8 * (HALVES - 1))
                : {9'b0, value[7:0]};
        end

    integer r;
    always @(posedge clk) begin
        for (r = 0; r < MACS; r = r + 1) begin
            operand_weight[r] <= picked_weight[r];
            operand_activation[r] <= picked_activation[r];
            product[r] <= 32'(operand_weight[r]) * 32'(operand_activation[r]);
        end
        operand_index <= slot_index;
        product_index <= operand_index;
        operand_sums <= queue_sums[head] + SUM_BITS'(scan);
        product_sums <= operand_sums;
        operand_valid <= !reset && head_valid && slot_valid[0];
        product_valid <= !reset && operand_valid;
    end

    reg [WINDOW*32-1:0] sums [0:(1<<SUM_BITS)-1];
    reg [(1<<SUM_BITS)-1:0] started;
    reg [WINDOW*32-1:0] word;
    integer s, p;

    always @(*) begin
        word = started[product_sums] ? sums[product_sums] : 0;
        for (s = 0; s < MACS; s = s + 1) begin
            p = 32'(product_index[s*INDEX_BITS +: INDEX_BITS]) / HALVES;
            word[p*32 +: 32] = word[p*32 +: 32] + product[s];
        end
    end

    always @(posedge clk)
        if (reset || load) started <= 0;
        else if (product_valid) begin
            started[product_sums] <= 1'b1;
            sums[product_sums] <= word;
        end

    assign sum_data = started[sum_address] ? sums[sum_address] : 0;
endmodule
